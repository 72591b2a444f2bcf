"""What the label of a question, or a key, says about its answer: whose it is, and whether it is a name, an e-mail address or
a phone number. People word labels freely, so this is a list of words, and it errs on the side of silence."""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

WORD = re.compile(r"[A-Z]{2,}(?![a-z])|[^\W\d_][^\W\d_A-Z]*")
"""Words of a label, key or slug: "yourEmail-2" is your, Email."""

NO_WORDS = re.compile(r"\{\{[^{}]{0,200}\}\}|<[^<>]{0,200}>")
"""What a label holds beside its words: an earlier answer that it repeats ({{field:email}}) and markup."""

Part = Literal["full", "first", "last"]


class Meaning(NamedTuple):
    """What a label says its answer is. `whose`: 0 the person's own, 1 maybe somebody near (a student's), 2 another's."""

    email: bool = False
    phone: bool = False
    part: Part | None = None
    whose: int = 0


def words(text: str) -> frozenset[str]:
    """The words of a list written as one text."""
    return frozenset(text.split())


FILLERS = words(
    "a an the what whats which is s are your you re my our please enter type provide tell us give me hi hello hey and or of so "
    "thanks great label no field fields required optional data contact contacts customer client lead person attendee invitee "
    "respondent applicant candidate visitor buyer billing input text short question q answer answers submission submissions "
    "value values response responses properties payload be can may we ask start let lets with for to in on get have know could "
    "would like nice meet kindly below here mr mrs record user_metadata hidden variables json named "
    "information info details personal legal participant member subscriber registrant i "
    "votre quel quelle est vous ton tu su sus tus cual cuál es como cómo wie ist ihr ihre dein deine der die das lautet il tuo "
    "suo seu qual é ваше ваша ваши как и et y und e o uw je is wat ja de del en och og și và"
)
PARTS: dict[frozenset[str], Part] = {
    words(spelling): part  # type: ignore[misc]
    for part, spellings in {
        "full": "name|full name|fullname|yourname|first last name|first last|full name first last|name surname|firstname lastname|"
        "names|complete name|nom|nom complet|nom prénom|nom prenom|nombre completo|nombre apellido|nombre apellidos|nome completo|"
        "nome cognome|nome sobrenome|"
        "förnamn efternamn|för efternamn|fornavn etternavn|fornavn efternavn|etunimi sukunimi|"
        "vorname nachname|vor nachname|name vorname|voor achternaam|vor name|naam|volledige naam|имя фамилия|фио|imię nazwisko|"
        "namn|fullständigt namn|navn|fulde navn|fullt navn|nimi|név|teljes név|nume complet|nume prenume|nama|nama lengkap|"
        "ime prezime|jméno příjmení|meno priezvisko|ad soyad|adı soyadı|adınız soyadınız|họ tên|полное имя|όνομα|"
        "ονοματεπώνυμο|الاسم|الاسم الكامل|שם מלא|姓名|名前|お名前|氏名|이름|성함|성명",
        "first": "first name|firstname|fname|given name|givenname|forename|first|prénom|prenom|vorname|voornaam|nombre|nome|"
        "imię|имя|förnamn|fornavn|jméno|etunimi|ime|keresztnév|prenume|primeiro nome|名",
        "last": "last name|lastname|lname|surname|family name|familyname|last|second name|nachname|familienname|nom famille|"
        "apellido|apellidos|primer apellido|cognome|sobrenome|último nome|achternaam|nazwisko|фамилия|efternamn|etternavn|"
        "efternavn|příjmení|priezvisko|sukunimi|soyad|soyadı|prezime|vezetéknév|姓",
    }.items()
    for spelling in spellings.split("|")
}
SOMEBODY_NEAR = words(
    "child children childs kid kids son daughter baby student students pupil player camper partner partners"
)
SOMEBODY_ELSE = words(
    "friend friends colleague colleagues referrer referral referred referee spouse wife husband emergency manager supervisor boss "
    "guest guests host organizer organiser recipient admin administrator webmaster sender assistant beneficiary"
)
NO_PERSON = words(
    "company companies business organization organisation employer firm brand product project form site website page event "
    "school university college team pet dog cat maiden middle user username nick nickname domain file street city country "
    "state hotel store shop entreprise société empresa firma unternehmen azienda bedrijf компания"
)
PHONE_BEGINNINGS = (
    "phone",
    "telef",
    "telep",
    "télép",
    "teléf",
    "mobil",
    "móvil",
    "handy",
    "cellul",
    "celul",
    "telem",
    "puhelin",
    "телеф",
)
PHONE_WORDS = words("tel cell gsm mob fon hp")
PHONE_PIECES = ("whatsapp", "電話", "电话", "手机", "전화", "휴대", "هاتف", "טלפון", "thoại")
NUMBERS_OF_PEOPLE = (words("contact number"), words("número contacto"), words("numéro contact"))
EMAIL_PIECES = (
    "mail",
    "e-post",
    "courriel",
    "correo electr",
    "sähköposti",
    "posta elettr",
    "почта",
    "邮箱",
    "信箱",
    "メール",
    "메일",
    "البريد",
)
"""Pieces of any word: Chinese and Japanese write no spaces, and WhatsApp is two words by its capitals."""


@lru_cache(maxsize=8192)
def _meaning_of_text(text: str) -> tuple[Meaning, bool]:
    """The meaning of one label or key, and whether it says that this is about no person at all."""
    text = NO_WORDS.sub(" ", text[:500])
    words, folded = frozenset(word.casefold() for word in WORD.findall(text)), text.casefold()
    whose = 0
    if words & SOMEBODY_ELSE:  # a whole sentence may name a friend and still ask for one's own
        whose = 2 if len(words) <= 7 else 1
    elif words & SOMEBODY_NEAR:
        whose = 1
    phone = "fax" not in words and (
        any(word in PHONE_WORDS or word.startswith(PHONE_BEGINNINGS) or word.endswith("phone") for word in words)
        or any(piece in folded for piece in PHONE_PIECES)
        or any(pair <= words for pair in NUMBERS_OF_PEOPLE)
    )
    email = "correo" in words or any(piece in folded for piece in EMAIL_PIECES)
    part = None if whose else PARTS.get(words) or PARTS.get(words - FILLERS)
    return Meaning(email, phone, part, whose), bool(words & NO_PERSON)


def meaning_of(label: str, key: str) -> Meaning:
    """What a field is by its label, else by its key. A label that says company, or whose, overrules a key that says name."""
    spoken, spoken_no_person = _meaning_of_text(label)
    keyed, keyed_no_person = _meaning_of_text(key)
    whose = max(spoken.whose, keyed.whose)
    part = spoken.part or (None if spoken_no_person else keyed.part)
    if whose or (keyed_no_person and not spoken.part):
        part = None
    return Meaning(spoken.email or keyed.email, spoken.phone or keyed.phone, part, whose)


def says_no_person(label: str) -> bool:
    return _meaning_of_text(label)[1]


def says_only_who(label: str) -> bool:
    """A label such as "Applicant" or "Customer": nothing but who it is about, and that is the person who sent the form."""
    words = frozenset(word.casefold() for word in WORD.findall(label[:500]))
    return bool(words) and words <= FILLERS
