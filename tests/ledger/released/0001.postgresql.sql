SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.alerts (
    topic character varying NOT NULL,
    kind character varying NOT NULL,
    subject character varying NOT NULL,
    incident character varying NOT NULL,
    began_at bigint NOT NULL,
    bad_at bigint NOT NULL,
    over_at bigint,
    told_at bigint,
    say character varying,
    detail text NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    next_try_at bigint DEFAULT '0'::bigint NOT NULL,
    problem text,
    claim character varying,
    claimed_until bigint
);
CREATE TABLE public.attempts (
    id bigint NOT NULL,
    delivery_id bigint NOT NULL,
    number integer NOT NULL,
    result character varying NOT NULL,
    by_hand integer DEFAULT 0 NOT NULL,
    started_at bigint NOT NULL,
    duration_ms integer NOT NULL,
    status integer,
    error text,
    answer_headers text,
    answer_body text
);
CREATE SEQUENCE public.attempts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.attempts_id_seq OWNED BY public.attempts.id;
CREATE TABLE public.audit (
    id bigint NOT NULL,
    at bigint NOT NULL,
    actor character varying NOT NULL,
    action character varying NOT NULL,
    subject character varying NOT NULL,
    detail text DEFAULT ''::text NOT NULL
);
CREATE SEQUENCE public.audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.audit_id_seq OWNED BY public.audit.id;
CREATE SEQUENCE public.bridge_ids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE public.conflicts (
    id bigint NOT NULL,
    at bigint NOT NULL,
    event_id bigint NOT NULL,
    person_id bigint,
    conversion_id bigint,
    reason text NOT NULL
);
CREATE SEQUENCE public.conflicts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.conflicts_id_seq OWNED BY public.conflicts.id;
CREATE TABLE public.conversions (
    id bigint NOT NULL,
    state character varying NOT NULL,
    kind character varying NOT NULL,
    source character varying NOT NULL,
    dedupe_key character varying NOT NULL COLLATE pg_catalog."C",
    hold character varying DEFAULT 'none'::character varying NOT NULL,
    event_id bigint NOT NULL,
    person_id bigint,
    occurred_at bigint NOT NULL,
    created_at bigint NOT NULL,
    facts text NOT NULL
);
CREATE TABLE public.counters (
    name character varying NOT NULL,
    value bigint NOT NULL
);
CREATE TABLE public.dedupe_keys (
    key character varying NOT NULL COLLATE pg_catalog."C",
    conversion_id bigint NOT NULL
);
CREATE TABLE public.deliveries (
    id bigint NOT NULL,
    conversion_id bigint NOT NULL,
    person_id bigint NOT NULL,
    event_id bigint NOT NULL,
    source character varying NOT NULL,
    kind character varying NOT NULL,
    destination character varying NOT NULL,
    dedupe_key character varying NOT NULL COLLATE pg_catalog."C",
    status character varying NOT NULL,
    payload text NOT NULL,
    due_at bigint,
    held integer DEFAULT 0 NOT NULL,
    claim character varying,
    claimed_until bigint,
    attempts integer DEFAULT 0 NOT NULL,
    schedule_start integer DEFAULT 0 NOT NULL,
    created_at bigint NOT NULL,
    delivered_at bigint,
    last_error text,
    last_status integer,
    dead_at bigint
);
CREATE TABLE public.destinations (
    name character varying NOT NULL,
    paused_at bigint,
    paused_reason text,
    paused_token character varying,
    failures integer DEFAULT 0 NOT NULL,
    probe_at bigint,
    rate_next_at bigint DEFAULT '0'::bigint NOT NULL
);
CREATE TABLE public.events (
    id bigint NOT NULL,
    event_key character varying NOT NULL COLLATE pg_catalog."C",
    source character varying NOT NULL,
    event_id character varying NOT NULL,
    event_type character varying NOT NULL,
    outcome character varying NOT NULL,
    reason text NOT NULL,
    conversion_id bigint,
    person_id bigint,
    received_at bigint NOT NULL,
    received_count integer DEFAULT 1 NOT NULL,
    last_received_at bigint NOT NULL,
    headers text NOT NULL,
    body bytea NOT NULL
);
CREATE TABLE public.identifiers (
    value character varying NOT NULL COLLATE pg_catalog."C",
    kind character varying NOT NULL,
    person_id bigint NOT NULL,
    seen_at bigint NOT NULL
);
CREATE TABLE public.marks (
    reference character varying NOT NULL,
    key character varying NOT NULL COLLATE pg_catalog."C",
    kind character varying NOT NULL,
    status character varying NOT NULL,
    minor bigint NOT NULL,
    currency character varying NOT NULL,
    at bigint NOT NULL
);
CREATE TABLE public.persons (
    id bigint NOT NULL,
    customer_id character varying,
    explicit_id character varying,
    provider_id character varying,
    email character varying,
    name text,
    phone character varying,
    click_first character varying COLLATE pg_catalog."C",
    click_last character varying COLLATE pg_catalog."C",
    created_at bigint NOT NULL,
    merged_into bigint,
    sent integer DEFAULT 0 NOT NULL
);
CREATE TABLE public.refusals (
    hour bigint NOT NULL,
    source character varying NOT NULL,
    reason character varying NOT NULL,
    count bigint NOT NULL
);
CREATE TABLE public.sandbox_requests (
    id bigint NOT NULL,
    received_at bigint NOT NULL,
    kind character varying NOT NULL,
    idempotency_key character varying NOT NULL,
    problem text,
    body text NOT NULL
);
CREATE SEQUENCE public.sandbox_requests_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.sandbox_requests_id_seq OWNED BY public.sandbox_requests.id;
CREATE TABLE public.workers (
    id bigint NOT NULL,
    host character varying NOT NULL,
    pid integer NOT NULL,
    pid_started character varying NOT NULL,
    started_at bigint NOT NULL,
    heartbeat_at bigint NOT NULL,
    stopped_at bigint
);
CREATE SEQUENCE public.workers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.workers_id_seq OWNED BY public.workers.id;
ALTER TABLE ONLY public.attempts ALTER COLUMN id SET DEFAULT nextval('public.attempts_id_seq'::regclass);
ALTER TABLE ONLY public.audit ALTER COLUMN id SET DEFAULT nextval('public.audit_id_seq'::regclass);
ALTER TABLE ONLY public.conflicts ALTER COLUMN id SET DEFAULT nextval('public.conflicts_id_seq'::regclass);
ALTER TABLE ONLY public.sandbox_requests ALTER COLUMN id SET DEFAULT nextval('public.sandbox_requests_id_seq'::regclass);
ALTER TABLE ONLY public.workers ALTER COLUMN id SET DEFAULT nextval('public.workers_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0001');
INSERT INTO public.attempts VALUES (1, 4, 1, 'delivered', 0, 1795982191896, 7, 200, NULL, '{"server": "x"}', NULL);
INSERT INTO public.attempts VALUES (2, 8, 1, 'delivered', 0, 1795982191896, 7, 200, NULL, '{"server": "x"}', NULL);
INSERT INTO public.attempts VALUES (3, 12, 1, 'permanent', 0, 1795982191922, 7, 422, 'no such click', '{"server": "x"}', NULL);
INSERT INTO public.attempts VALUES (4, 16, 1, 'transient', 0, 1795982191940, 7, 503, 'busy', '{"server": "x"}', NULL);
INSERT INTO public.conversions VALUES (3, 'counted', 'lead', 'typeform', 'lead:typeform:tokenreleased1', 'none', 1, 2, 1795982191000, 1795982191857, '{"click_id":"clk_example1","email":"ada@example.com","name":"Ada Lovelace","phone":null,"sale":null,"lead":{"lead_id":"tokenreleased1","event_name":"form_submitted","mode":null,"metadata":{"source":"typeform","form":"Request a demo","event":"form_response"}}}');
INSERT INTO public.conversions VALUES (7, 'counted', 'sale', 'stripe', 'sale:stripe:pi_1', 'none', 5, 6, 1780000000000, 1795982191883, '{"click_id":"clk_1","email":"p1@example.com","name":"Ada Lovelace","phone":null,"sale":{"invoice_id":"pi_1","minor":1999,"currency":"USD","order_id":null,"event_name":"checkout_completed","metadata":{}},"lead":null}');
INSERT INTO public.conversions VALUES (11, 'counted', 'sale', 'stripe', 'sale:stripe:pi_2', 'none', 9, 10, 1780000000000, 1795982191899, '{"click_id":"clk_2","email":"p2@example.com","name":"Ada Lovelace","phone":null,"sale":{"invoice_id":"pi_2","minor":1999,"currency":"USD","order_id":null,"event_name":"checkout_completed","metadata":{}},"lead":null}');
INSERT INTO public.conversions VALUES (15, 'counted', 'sale', 'stripe', 'sale:stripe:pi_3', 'none', 13, 14, 1780000000000, 1795982191930, '{"click_id":"clk_3","email":"p3@example.com","name":"Ada Lovelace","phone":null,"sale":{"invoice_id":"pi_3","minor":1999,"currency":"USD","order_id":null,"event_name":"checkout_completed","metadata":{}},"lead":null}');
INSERT INTO public.conversions VALUES (19, 'counted', 'sale', 'stripe', 'sale:stripe:pi_4', 'none', 17, 18, 1780000000000, 1795982191948, '{"click_id":"clk_4","email":"p4@example.com","name":"Ada Lovelace","phone":null,"sale":{"invoice_id":"pi_4","minor":1999,"currency":"USD","order_id":null,"event_name":"checkout_completed","metadata":{}},"lead":null}');
INSERT INTO public.conversions VALUES (27, 'pending', 'sale', 'stripe', 'sale:stripe:pi_5', 'none', 25, 26, 1780000000000, 1795982191977, '{"click_id":"clk_5","email":"p5@example.com","name":"Ada Lovelace","phone":null,"sale":null,"lead":null}');
INSERT INTO public.conversions VALUES (31, 'linked', 'sale', 'stripe', 'sale:stripe:pi_6', 'none', 29, 30, 1780000000000, 1795982191982, '{"click_id":"clk_6","email":"p6@example.com","name":"Ada Lovelace","phone":null,"sale":null,"lead":null}');
INSERT INTO public.dedupe_keys VALUES ('lead:typeform:tokenreleased1', 3);
INSERT INTO public.dedupe_keys VALUES ('sale:stripe:cs_1', 7);
INSERT INTO public.dedupe_keys VALUES ('sale:stripe:pi_1', 7);
INSERT INTO public.dedupe_keys VALUES ('sale:stripe:cs_2', 11);
INSERT INTO public.dedupe_keys VALUES ('sale:stripe:pi_2', 11);
INSERT INTO public.dedupe_keys VALUES ('sale:stripe:cs_3', 15);
INSERT INTO public.dedupe_keys VALUES ('sale:stripe:pi_3', 15);
INSERT INTO public.dedupe_keys VALUES ('sale:stripe:cs_4', 19);
INSERT INTO public.dedupe_keys VALUES ('sale:stripe:pi_4', 19);
INSERT INTO public.dedupe_keys VALUES ('sale:stripe:cs_5', 27);
INSERT INTO public.dedupe_keys VALUES ('sale:stripe:pi_5', 27);
INSERT INTO public.dedupe_keys VALUES ('sale:stripe:cs_6', 31);
INSERT INTO public.dedupe_keys VALUES ('sale:stripe:pi_6', 31);
INSERT INTO public.deliveries VALUES (4, 3, 2, 1, 'typeform', 'lead', 'main', 'lead:typeform:tokenreleased1', 'delivered', '{"event":"lead","timestamp":"2026-11-29T19:56:31.000Z","clickId":"clk_example1","customerExternalId":"user_ada","email":"ada@example.com","name":"Ada Lovelace","metadata":{"source":"typeform","form":"Request a demo","event":"form_response"}}', NULL, 0, NULL, NULL, 1, 0, 1795982191857, 1795982191896, NULL, 200, NULL);
INSERT INTO public.deliveries VALUES (8, 7, 6, 5, 'stripe', 'sale', 'main', 'sale:stripe:pi_1', 'delivered', '{"event":"sale","timestamp":"2026-05-28T20:26:40.000Z","clickId":"clk_1","customerExternalId":"user_1","email":"p1@example.com","name":"Ada Lovelace","currency":"USD","amount":19.99,"invoiceId":"pi_1"}', NULL, 0, NULL, NULL, 1, 0, 1795982191883, 1795982191896, NULL, 200, NULL);
INSERT INTO public.deliveries VALUES (12, 11, 10, 9, 'stripe', 'sale', 'main', 'sale:stripe:pi_2', 'dead', '{"event":"sale","timestamp":"2026-05-28T20:26:40.000Z","clickId":"clk_2","customerExternalId":"user_2","email":"p2@example.com","name":"Ada Lovelace","currency":"USD","amount":19.99,"invoiceId":"pi_2"}', NULL, 0, NULL, NULL, 1, 0, 1795982191899, NULL, 'no such click', 422, 1795982191922);
INSERT INTO public.deliveries VALUES (16, 15, 14, 13, 'stripe', 'sale', 'main', 'sale:stripe:pi_3', 'retrying', '{"event":"sale","timestamp":"2026-05-28T20:26:40.000Z","clickId":"clk_3","customerExternalId":"user_3","email":"p3@example.com","name":"Ada Lovelace","currency":"USD","amount":19.99,"invoiceId":"pi_3"}', 1795985791940, 0, NULL, NULL, 1, 0, 1795982191930, NULL, 'busy', 503, NULL);
INSERT INTO public.deliveries VALUES (20, 19, 18, 17, 'stripe', 'sale', 'main', 'sale:stripe:pi_4', 'pending', '{"event":"sale","timestamp":"2026-05-28T20:26:40.000Z","clickId":"clk_4","customerExternalId":"user_4","email":"p4@example.com","name":"Ada Lovelace","currency":"USD","amount":19.99,"invoiceId":"pi_4"}', 1795982191948, 0, NULL, NULL, 0, 0, 1795982191948, NULL, NULL, NULL, NULL);
INSERT INTO public.destinations VALUES ('main', NULL, NULL, NULL, 1, NULL, 0);
INSERT INTO public.events VALUES (1, 'typeform:examplereleased1', 'typeform', 'examplereleased1', 'form_response', 'lead', 'a form was submitted', 3, 2, 1795982191854, 1, 1795982191857, '{"user-agent":"Werkzeug/3.1.9","host":"localhost","content-type":"application/json","content-length":"827","typeform-signature":"sha256=3kMngXv2Ymf4GJxaSxmSl6in+n+5O3gxPvya1NcCkrM="}', '\x7b0a2020226576656e745f6964223a20226578616d706c6572656c656173656431222c0a2020226576656e745f74797065223a2022666f726d5f726573706f6e7365222c0a202022666f726d5f726573706f6e7365223a207b0a2020202022666f726d5f6964223a202264656d6f466f726d222c0a2020202022746f6b656e223a2022746f6b656e72656c656173656431222c0a20202020226c616e6465645f6174223a2022323032362d31312d32395431393a35363a33315a222c0a20202020227375626d69747465645f6174223a2022323032362d31312d32395431393a35363a33315a222c0a202020202268696464656e223a207b22636c69636b6964223a2022636c6b5f6578616d706c6531222c2022757365725f6964223a2022757365725f616461227d2c0a2020202022646566696e6974696f6e223a207b0a202020202020226964223a202264656d6f466f726d222c0a202020202020227469746c65223a20225265717565737420612064656d6f222c0a202020202020226669656c6473223a205b0a20202020202020207b226964223a20226631222c2022726566223a20226e616d65222c202274797065223a202273686f72745f74657874222c20227469746c65223a20225768617420697320796f7572206e616d653f227d2c0a20202020202020207b226964223a20226632222c2022726566223a2022656d61696c222c202274797065223a2022656d61696c222c20227469746c65223a2022596f757220776f726b20652d6d61696c227d0a2020202020205d0a202020207d2c0a2020202022616e7377657273223a205b0a2020202020207b2274797065223a202274657874222c202274657874223a2022416461204c6f76656c616365222c20226669656c64223a207b226964223a20226631222c2022726566223a20226e616d65222c202274797065223a202273686f72745f74657874227d7d2c0a2020202020207b2274797065223a2022656d61696c222c2022656d61696c223a2022616461406578616d706c652e636f6d222c20226669656c64223a207b226964223a20226632222c2022726566223a2022656d61696c222c202274797065223a2022656d61696c227d7d0a202020205d0a20207d0a7d0a');
INSERT INTO public.events VALUES (5, 'stripe:evt_1', 'stripe', 'evt_1', 'checkout.session.completed', 'sale', 'a paid checkout session', 7, 6, 1795982191876, 1, 1795982191883, '{"user-agent":"Werkzeug/3.1.9","host":"localhost","content-type":"application/json","content-length":"484","stripe-signature":"t=1795982191,v1=0e1a0e055538258b7b76b412edf2d32ddbf00ee9ff6df1c1bbde192c4af5cf15"}', '\x7b226964223a20226576745f31222c20226f626a656374223a20226576656e74222c202263726561746564223a20313738303030303030302c20226c6976656d6f6465223a2066616c73652c202274797065223a2022636865636b6f75742e73657373696f6e2e636f6d706c65746564222c202264617461223a207b226f626a656374223a207b226964223a202263735f31222c20226f626a656374223a2022636865636b6f75742e73657373696f6e222c20226d6f6465223a20227061796d656e74222c20227061796d656e745f737461747573223a202270616964222c2022737461747573223a2022636f6d706c657465222c2022616d6f756e745f746f74616c223a20313939392c202263757272656e6379223a2022757364222c202263726561746564223a20313738303030303030302c20226c6976656d6f6465223a2066616c73652c20227061796d656e745f696e74656e74223a202270695f31222c2022637573746f6d65725f64657461696c73223a207b22656d61696c223a20227031406578616d706c652e636f6d222c20226e616d65223a2022416461204c6f76656c616365227d2c20226d65746164617461223a207b22757365725f6964223a2022757365725f31222c2022636c69636b4964223a2022636c6b5f31227d7d7d7d');
INSERT INTO public.events VALUES (9, 'stripe:evt_2', 'stripe', 'evt_2', 'checkout.session.completed', 'sale', 'a paid checkout session', 11, 10, 1795982191898, 1, 1795982191899, '{"user-agent":"Werkzeug/3.1.9","host":"localhost","content-type":"application/json","content-length":"484","stripe-signature":"t=1795982191,v1=862505ffce139c8240f64cdcef59f1799c9681ddb99ea00efb17552ae9f1b8ec"}', '\x7b226964223a20226576745f32222c20226f626a656374223a20226576656e74222c202263726561746564223a20313738303030303030302c20226c6976656d6f6465223a2066616c73652c202274797065223a2022636865636b6f75742e73657373696f6e2e636f6d706c65746564222c202264617461223a207b226f626a656374223a207b226964223a202263735f32222c20226f626a656374223a2022636865636b6f75742e73657373696f6e222c20226d6f6465223a20227061796d656e74222c20227061796d656e745f737461747573223a202270616964222c2022737461747573223a2022636f6d706c657465222c2022616d6f756e745f746f74616c223a20313939392c202263757272656e6379223a2022757364222c202263726561746564223a20313738303030303030302c20226c6976656d6f6465223a2066616c73652c20227061796d656e745f696e74656e74223a202270695f32222c2022637573746f6d65725f64657461696c73223a207b22656d61696c223a20227032406578616d706c652e636f6d222c20226e616d65223a2022416461204c6f76656c616365227d2c20226d65746164617461223a207b22757365725f6964223a2022757365725f32222c2022636c69636b4964223a2022636c6b5f32227d7d7d7d');
INSERT INTO public.events VALUES (13, 'stripe:evt_3', 'stripe', 'evt_3', 'checkout.session.completed', 'sale', 'a paid checkout session', 15, 14, 1795982191929, 1, 1795982191930, '{"user-agent":"Werkzeug/3.1.9","host":"localhost","content-type":"application/json","content-length":"484","stripe-signature":"t=1795982191,v1=d688ec6d79019aa24978fccc539d25f395832122632ce7ed4a47b4a7ff02e398"}', '\x7b226964223a20226576745f33222c20226f626a656374223a20226576656e74222c202263726561746564223a20313738303030303030302c20226c6976656d6f6465223a2066616c73652c202274797065223a2022636865636b6f75742e73657373696f6e2e636f6d706c65746564222c202264617461223a207b226f626a656374223a207b226964223a202263735f33222c20226f626a656374223a2022636865636b6f75742e73657373696f6e222c20226d6f6465223a20227061796d656e74222c20227061796d656e745f737461747573223a202270616964222c2022737461747573223a2022636f6d706c657465222c2022616d6f756e745f746f74616c223a20313939392c202263757272656e6379223a2022757364222c202263726561746564223a20313738303030303030302c20226c6976656d6f6465223a2066616c73652c20227061796d656e745f696e74656e74223a202270695f33222c2022637573746f6d65725f64657461696c73223a207b22656d61696c223a20227033406578616d706c652e636f6d222c20226e616d65223a2022416461204c6f76656c616365227d2c20226d65746164617461223a207b22757365725f6964223a2022757365725f33222c2022636c69636b4964223a2022636c6b5f33227d7d7d7d');
INSERT INTO public.events VALUES (17, 'stripe:evt_4', 'stripe', 'evt_4', 'checkout.session.completed', 'sale', 'a paid checkout session', 19, 18, 1795982191946, 2, 1795982191956, '{"user-agent":"Werkzeug/3.1.9","host":"localhost","content-type":"application/json","content-length":"484","stripe-signature":"t=1795982191,v1=db9adb7899f7c1bc407d2577e99231baa7431a976c8abc64cbd0c5a74828065c"}', '\x7b226964223a20226576745f34222c20226f626a656374223a20226576656e74222c202263726561746564223a20313738303030303030302c20226c6976656d6f6465223a2066616c73652c202274797065223a2022636865636b6f75742e73657373696f6e2e636f6d706c65746564222c202264617461223a207b226f626a656374223a207b226964223a202263735f34222c20226f626a656374223a2022636865636b6f75742e73657373696f6e222c20226d6f6465223a20227061796d656e74222c20227061796d656e745f737461747573223a202270616964222c2022737461747573223a2022636f6d706c657465222c2022616d6f756e745f746f74616c223a20313939392c202263757272656e6379223a2022757364222c202263726561746564223a20313738303030303030302c20226c6976656d6f6465223a2066616c73652c20227061796d656e745f696e74656e74223a202270695f34222c2022637573746f6d65725f64657461696c73223a207b22656d61696c223a20227034406578616d706c652e636f6d222c20226e616d65223a2022416461204c6f76656c616365227d2c20226d65746164617461223a207b22757365725f6964223a2022757365725f34222c2022636c69636b4964223a2022636c6b5f34227d7d7d7d');
INSERT INTO public.events VALUES (25, 'stripe:evt_5', 'stripe', 'evt_5', 'checkout.session.completed', 'pending', '19.99 USD promised and not collected yet: the checkout session is unpaid', 27, 26, 1795982191976, 1, 1795982191977, '{"user-agent":"Werkzeug/3.1.9","host":"localhost","content-type":"application/json","content-length":"486","stripe-signature":"t=1795982191,v1=b28debc22783e7cda6e6c18fb44e04ef22045b4d4106e6dd2f1143390ebc3fa9"}', '\x7b226964223a20226576745f35222c20226f626a656374223a20226576656e74222c202263726561746564223a20313738303030303030302c20226c6976656d6f6465223a2066616c73652c202274797065223a2022636865636b6f75742e73657373696f6e2e636f6d706c65746564222c202264617461223a207b226f626a656374223a207b226964223a202263735f35222c20226f626a656374223a2022636865636b6f75742e73657373696f6e222c20226d6f6465223a20227061796d656e74222c20227061796d656e745f737461747573223a2022756e70616964222c2022737461747573223a2022636f6d706c657465222c2022616d6f756e745f746f74616c223a20313939392c202263757272656e6379223a2022757364222c202263726561746564223a20313738303030303030302c20226c6976656d6f6465223a2066616c73652c20227061796d656e745f696e74656e74223a202270695f35222c2022637573746f6d65725f64657461696c73223a207b22656d61696c223a20227035406578616d706c652e636f6d222c20226e616d65223a2022416461204c6f76656c616365227d2c20226d65746164617461223a207b22757365725f6964223a2022757365725f35222c2022636c69636b4964223a2022636c6b5f35227d7d7d7d');
INSERT INTO public.events VALUES (29, 'stripe:evt_6', 'stripe', 'evt_6', 'checkout.session.completed', 'ignored', 'the checkout session cost nothing: no money', 31, 30, 1795982191981, 1, 1795982191982, '{"user-agent":"Werkzeug/3.1.9","host":"localhost","content-type":"application/json","content-length":"481","stripe-signature":"t=1795982191,v1=33b664f427d0407ac5e5268534e4cabcf180f53e263dc7c73d73e6b1b5b4b22a"}', '\x7b226964223a20226576745f36222c20226f626a656374223a20226576656e74222c202263726561746564223a20313738303030303030302c20226c6976656d6f6465223a2066616c73652c202274797065223a2022636865636b6f75742e73657373696f6e2e636f6d706c65746564222c202264617461223a207b226f626a656374223a207b226964223a202263735f36222c20226f626a656374223a2022636865636b6f75742e73657373696f6e222c20226d6f6465223a20227061796d656e74222c20227061796d656e745f737461747573223a202270616964222c2022737461747573223a2022636f6d706c657465222c2022616d6f756e745f746f74616c223a20302c202263757272656e6379223a2022757364222c202263726561746564223a20313738303030303030302c20226c6976656d6f6465223a2066616c73652c20227061796d656e745f696e74656e74223a202270695f36222c2022637573746f6d65725f64657461696c73223a207b22656d61696c223a20227036406578616d706c652e636f6d222c20226e616d65223a2022416461204c6f76656c616365227d2c20226d65746164617461223a207b22757365725f6964223a2022757365725f36222c2022636c69636b4964223a2022636c6b5f36227d7d7d7d');
INSERT INTO public.events VALUES (33, 'stripe:evt_7', 'stripe', 'evt_7', 'checkout.session.completed', 'parked', 'it cannot be a Sale: the currency is missing or no ISO 4217 code', NULL, 34, 1795982191987, 1, 1795982191990, '{"user-agent":"Werkzeug/3.1.9","host":"localhost","content-type":"application/json","content-length":"481","stripe-signature":"t=1795982191,v1=b7eb100f725d0b5bfcb4c23f1e70bb008d507918d929002bbc44fb575d96f2b5"}', '\x7b226964223a20226576745f37222c20226f626a656374223a20226576656e74222c202263726561746564223a20313738303030303030302c20226c6976656d6f6465223a2066616c73652c202274797065223a2022636865636b6f75742e73657373696f6e2e636f6d706c65746564222c202264617461223a207b226f626a656374223a207b226964223a202263735f37222c20226f626a656374223a2022636865636b6f75742e73657373696f6e222c20226d6f6465223a20227061796d656e74222c20227061796d656e745f737461747573223a202270616964222c2022737461747573223a2022636f6d706c657465222c2022616d6f756e745f746f74616c223a20313939392c202263757272656e6379223a2022222c202263726561746564223a20313738303030303030302c20226c6976656d6f6465223a2066616c73652c20227061796d656e745f696e74656e74223a202270695f37222c2022637573746f6d65725f64657461696c73223a207b22656d61696c223a20227037406578616d706c652e636f6d222c20226e616d65223a2022416461204c6f76656c616365227d2c20226d65746164617461223a207b22757365725f6964223a2022757365725f37222c2022636c69636b4964223a2022636c6b5f37227d7d7d7d');
INSERT INTO public.identifiers VALUES ('ada@example.com', 'email', 2, 1795982191857);
INSERT INTO public.identifiers VALUES ('user_ada', 'id', 2, 1795982191857);
INSERT INTO public.identifiers VALUES ('stripe:cs_1', 'alias', 6, 1795982191883);
INSERT INTO public.identifiers VALUES ('stripe:pi_1', 'alias', 6, 1795982191883);
INSERT INTO public.identifiers VALUES ('p1@example.com', 'email', 6, 1795982191883);
INSERT INTO public.identifiers VALUES ('user_1', 'id', 6, 1795982191883);
INSERT INTO public.identifiers VALUES ('stripe:cs_2', 'alias', 10, 1795982191899);
INSERT INTO public.identifiers VALUES ('stripe:pi_2', 'alias', 10, 1795982191899);
INSERT INTO public.identifiers VALUES ('p2@example.com', 'email', 10, 1795982191899);
INSERT INTO public.identifiers VALUES ('user_2', 'id', 10, 1795982191899);
INSERT INTO public.identifiers VALUES ('stripe:cs_3', 'alias', 14, 1795982191930);
INSERT INTO public.identifiers VALUES ('stripe:pi_3', 'alias', 14, 1795982191930);
INSERT INTO public.identifiers VALUES ('p3@example.com', 'email', 14, 1795982191930);
INSERT INTO public.identifiers VALUES ('user_3', 'id', 14, 1795982191930);
INSERT INTO public.identifiers VALUES ('stripe:cs_4', 'alias', 18, 1795982191948);
INSERT INTO public.identifiers VALUES ('stripe:pi_4', 'alias', 18, 1795982191948);
INSERT INTO public.identifiers VALUES ('p4@example.com', 'email', 18, 1795982191948);
INSERT INTO public.identifiers VALUES ('user_4', 'id', 18, 1795982191948);
INSERT INTO public.identifiers VALUES ('stripe:cs_5', 'alias', 26, 1795982191977);
INSERT INTO public.identifiers VALUES ('stripe:pi_5', 'alias', 26, 1795982191977);
INSERT INTO public.identifiers VALUES ('p5@example.com', 'email', 26, 1795982191977);
INSERT INTO public.identifiers VALUES ('user_5', 'id', 26, 1795982191977);
INSERT INTO public.identifiers VALUES ('stripe:cs_6', 'alias', 30, 1795982191982);
INSERT INTO public.identifiers VALUES ('stripe:pi_6', 'alias', 30, 1795982191982);
INSERT INTO public.identifiers VALUES ('p6@example.com', 'email', 30, 1795982191982);
INSERT INTO public.identifiers VALUES ('user_6', 'id', 30, 1795982191982);
INSERT INTO public.identifiers VALUES ('stripe:cs_7', 'alias', 34, 1795982191990);
INSERT INTO public.identifiers VALUES ('stripe:pi_7', 'alias', 34, 1795982191990);
INSERT INTO public.identifiers VALUES ('p7@example.com', 'email', 34, 1795982191990);
INSERT INTO public.identifiers VALUES ('user_7', 'id', 34, 1795982191990);
INSERT INTO public.persons VALUES (2, 'user_ada', 'user_ada', NULL, 'ada@example.com', 'Ada Lovelace', NULL, 'clk_example1', 'clk_example1', 1795982191857, NULL, 0);
INSERT INTO public.persons VALUES (6, 'user_1', 'user_1', NULL, 'p1@example.com', 'Ada Lovelace', NULL, 'clk_1', 'clk_1', 1795982191883, NULL, 0);
INSERT INTO public.persons VALUES (10, 'user_2', 'user_2', NULL, 'p2@example.com', 'Ada Lovelace', NULL, 'clk_2', 'clk_2', 1795982191899, NULL, 0);
INSERT INTO public.persons VALUES (14, 'user_3', 'user_3', NULL, 'p3@example.com', 'Ada Lovelace', NULL, 'clk_3', 'clk_3', 1795982191930, NULL, 0);
INSERT INTO public.persons VALUES (18, 'user_4', 'user_4', NULL, 'p4@example.com', 'Ada Lovelace', NULL, 'clk_4', 'clk_4', 1795982191948, NULL, 0);
INSERT INTO public.persons VALUES (26, NULL, 'user_5', NULL, 'p5@example.com', 'Ada Lovelace', NULL, 'clk_5', 'clk_5', 1795982191977, NULL, 0);
INSERT INTO public.persons VALUES (30, NULL, 'user_6', NULL, 'p6@example.com', 'Ada Lovelace', NULL, 'clk_6', 'clk_6', 1795982191982, NULL, 0);
INSERT INTO public.persons VALUES (34, NULL, 'user_7', NULL, 'p7@example.com', 'Ada Lovelace', NULL, 'clk_7', 'clk_7', 1795982191990, NULL, 0);
SELECT pg_catalog.setval('public.attempts_id_seq', 4, true);
SELECT pg_catalog.setval('public.audit_id_seq', 1, false);
SELECT pg_catalog.setval('public.bridge_ids', 36, true);
SELECT pg_catalog.setval('public.conflicts_id_seq', 1, false);
SELECT pg_catalog.setval('public.sandbox_requests_id_seq', 1, false);
SELECT pg_catalog.setval('public.workers_id_seq', 1, false);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.alerts
    ADD CONSTRAINT pk_alerts PRIMARY KEY (topic);
ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT pk_attempts PRIMARY KEY (id);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT pk_audit PRIMARY KEY (id);
ALTER TABLE ONLY public.conflicts
    ADD CONSTRAINT pk_conflicts PRIMARY KEY (id);
ALTER TABLE ONLY public.conversions
    ADD CONSTRAINT pk_conversions PRIMARY KEY (id);
ALTER TABLE ONLY public.counters
    ADD CONSTRAINT pk_counters PRIMARY KEY (name);
ALTER TABLE ONLY public.dedupe_keys
    ADD CONSTRAINT pk_dedupe_keys PRIMARY KEY (key);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT pk_deliveries PRIMARY KEY (id);
ALTER TABLE ONLY public.destinations
    ADD CONSTRAINT pk_destinations PRIMARY KEY (name);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT pk_events PRIMARY KEY (id);
ALTER TABLE ONLY public.identifiers
    ADD CONSTRAINT pk_identifiers PRIMARY KEY (value, kind, person_id);
ALTER TABLE ONLY public.marks
    ADD CONSTRAINT pk_marks PRIMARY KEY (reference, key);
ALTER TABLE ONLY public.persons
    ADD CONSTRAINT pk_persons PRIMARY KEY (id);
ALTER TABLE ONLY public.refusals
    ADD CONSTRAINT pk_refusals PRIMARY KEY (hour, source, reason);
ALTER TABLE ONLY public.sandbox_requests
    ADD CONSTRAINT pk_sandbox_requests PRIMARY KEY (id);
ALTER TABLE ONLY public.workers
    ADD CONSTRAINT pk_workers PRIMARY KEY (id);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT uq_deliveries_conversion UNIQUE (conversion_id, destination);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT uq_events_event_key UNIQUE (event_key);
CREATE INDEX ix_attempts_delivery ON public.attempts USING btree (delivery_id, id);
CREATE INDEX ix_audit_subject ON public.audit USING btree (subject, id);
CREATE INDEX ix_conflicts_person ON public.conflicts USING btree (person_id);
CREATE INDEX ix_conversions_person ON public.conversions USING btree (person_id);
CREATE INDEX ix_dedupe_keys_conversion ON public.dedupe_keys USING btree (conversion_id);
CREATE INDEX ix_deliveries_claimed ON public.deliveries USING btree (claimed_until) WHERE (claim IS NOT NULL);
CREATE INDEX ix_deliveries_dead ON public.deliveries USING btree (destination, dead_at) WHERE ((status)::text = 'dead'::text);
CREATE INDEX ix_deliveries_due ON public.deliveries USING btree (destination, due_at) WHERE ((due_at IS NOT NULL) AND (claim IS NULL));
CREATE INDEX ix_deliveries_failed ON public.deliveries USING btree (status, id, source, kind, last_status, last_error, created_at) WHERE ((status)::text = ANY ((ARRAY['dead'::character varying, 'retrying'::character varying])::text[]));
CREATE INDEX ix_deliveries_held ON public.deliveries USING btree (source) WHERE (held = 1);
CREATE INDEX ix_deliveries_person ON public.deliveries USING btree (person_id);
CREATE INDEX ix_deliveries_person_open ON public.deliveries USING btree (person_id, destination, id) WHERE (due_at IS NOT NULL);
CREATE INDEX ix_deliveries_status ON public.deliveries USING btree (status, id);
CREATE INDEX ix_events_conversion ON public.events USING btree (conversion_id);
CREATE INDEX ix_events_outcome ON public.events USING btree (outcome, id);
CREATE INDEX ix_events_person ON public.events USING btree (person_id);
CREATE INDEX ix_events_received ON public.events USING btree (received_at, source, outcome);
CREATE INDEX ix_events_repeated ON public.events USING btree (received_count) WHERE (received_count > 1);
CREATE INDEX ix_events_source ON public.events USING btree (source, id);
CREATE INDEX ix_identifiers_person ON public.identifiers USING btree (person_id);
CREATE INDEX ix_marks_key ON public.marks USING btree (key);
CREATE INDEX ix_persons_click_first ON public.persons USING btree (click_first) WHERE (click_first IS NOT NULL);
CREATE INDEX ix_persons_click_last ON public.persons USING btree (click_last) WHERE ((click_last)::text <> (click_first)::text);
CREATE INDEX ix_sandbox_requests_key ON public.sandbox_requests USING btree (idempotency_key);
