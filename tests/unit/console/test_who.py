"""Principals in lists: long ones without their middle, and no more than text."""

from valetkey_console.visits.rendering import who

LONG = "oidc:https://login.microsoftonline.com/11111111-1111-4111-8111-111111111111/v2.0#AAAA-the-subject"


def test_the_end_of_a_long_one_is_kept() -> None:
    """It tells people apart; the whole is there, too."""
    shown = who(LONG)
    assert shown.startswith(f'<span title="{LONG}">oidc:https://log…')
    assert shown.endswith("#AAAA-the-subject</span>")
    assert shown.count(LONG) == 1


def test_others_stay_as_they_are() -> None:
    """Short ones, several of them, and none."""
    assert who("key:trainer") == "key:trainer"
    assert who(("key:a", "key:b")) == "key:a, key:b"
    assert who(None) == ""


def test_it_is_text() -> None:
    """Markup and what cannot be seen, whether it is shortened or not."""
    for text in ('"><b>\u202e', '"><b>\u202e' * 30):
        assert "<b>" not in who(text)
        assert "\u202e" not in who(text)
