"""Sources of other packages: found by their entry point, with their example, and refused plainly where they cannot be."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from app.errors import ConfigurationError
from app.sources import catalog

SOURCE = '''
"""Acme."""

from app.model import Inbound, Mapped, Rules
from app.money import from_major
from app.sources.outcomes import sale
from app.sources.parse import json_object
from app.sources.signatures import HmacScheme
from app.sources.submission import Contact, Submission
from app.sources.webhook import Webhook


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    order = Submission(event="order", submission_id=None, body=inbound.body, hidden=raw, contact=Contact(email=raw["email"]))
    return sale("acme", order, rules, from_major(raw["total"], "EUR"), keys=(raw["number"],))


SOURCE = Webhook("acme", "Acme", HmacScheme(header="X-Acme-Signature"), read)
'''


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder like site-packages, with the package acme-bridge installed in it."""
    package = tmp_path / "acme_bridge"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "source.py").write_text(SOURCE)
    example = {"number": "A-@ID@", "total": "19.99", "email": "ada@example.com", "clickId": "clk_@ID@"}
    (package / "example.json").write_text(json.dumps(example))
    info = tmp_path / "acme_bridge-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-bridge\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[conversion_bridge.sources]\nacme = acme_bridge.source:SOURCE\n")
    return tmp_path


def run(site: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Runs `code` in an interpreter of its own that finds what is in `site`."""
    program = f"import sys; sys.path.insert(0, {str(site)!r})\n{textwrap.dedent(code)}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("point", ["acme_bridge.source:SOURCE", "acme_bridge.source", "acme_bridge"])
def test_another_package_brings_a_source(site: Path, point: str) -> None:
    (site / "acme_bridge-1.0.dist-info" / "entry_points.txt").write_text(
        f"[conversion_bridge.sources]\nacme = {point}\n"
    )
    done = run(
        site,
        """
        import json
        from datetime import UTC, datetime
        from app.intake.dry_run import explain
        from app.model import Inbound, Rules
        from app.sources.catalog import all_sources, example, has_example
        source = all_sources({})["acme"]
        body, kind = example("acme")
        line = explain(source, Inbound(body, {"content-type": kind}), Rules(), datetime.now(UTC))
        print(json.dumps([source.title, has_example("acme"), line["outcome"], line["payload"]["amount"]]))
        """,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["Acme", True, "sale", 19.99]


@pytest.mark.parametrize(
    ("point", "said"),
    [
        (
            "acme = acme_bridge.missing",
            "the source acme of the package acme-bridge cannot be loaded: ModuleNotFoundError",
        ),
        ("acme = json:dumps", "is not a source: it has no"),
        ("acme = app.sources.stripe.source:SOURCE", "there is a source called stripe already"),
    ],
)
def test_a_source_that_cannot_be_loaded_is_named(site: Path, point: str, said: str) -> None:
    (site / "acme_bridge-1.0.dist-info" / "entry_points.txt").write_text(f"[conversion_bridge.sources]\n{point}\n")
    done = run(site, "from app.sources.catalog import all_sources; all_sources({})")
    assert "ConfigurationError" in done.stderr
    assert said in done.stderr


def test_a_table_of_bridge_toml_cannot_take_the_name_of_an_installed_source(site: Path) -> None:
    code = "from app.sources.catalog import all_sources; all_sources({'sources': {'acme': {'title': 'Mine'}}})"
    assert "acme is built in" in run(site, code).stderr


def test_every_folder_with_a_source_is_found_and_nothing_else() -> None:
    folder = Path(catalog.__file__).parent
    described = (path for path in folder.glob("*/source.*") if path.suffix in (".py", ".toml"))
    assert sorted(path.parent.name for path in described) == sorted(catalog.SOURCES)
    assert all(source.name == name for name, source in catalog.SOURCES.items())


def test_an_example_of_an_unknown_source_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="no built-in example for nobody"):
        catalog.example("nobody")


def test_a_table_written_before_a_source_was_built_in_goes_before_it() -> None:
    fields = {"order_id": "=to_string(id)", "amount": "total_price", "currency": "currency"}
    table = {"kind": "sale", "signature": {"header": "X-Shopify-Hmac-Sha256", "encoding": "base64"}, "fields": fields}
    own = catalog.all_sources({"sources": {"shopify": table}})["shopify"]
    assert own is not catalog.SOURCES["shopify"]
    assert own.title == "shopify"
    assert catalog.all_sources({"sources": {"clerk": {"lead_mode": "deferred"}}})["clerk"] is catalog.SOURCES["clerk"]
    with pytest.raises(ConfigurationError, match="stripe is built in"):
        catalog.all_sources({"sources": {"stripe": table}})
