"""For tests of programs that use Valet Key: a broker in the test's own process. Extra `valetkey[testing]`."""

try:
    from valetkey.testing.fake_broker import FakeBroker
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"valetkey.testing needs {error.name}; install valetkey[testing]", name=error.name
    ) from None

__all__ = ["FakeBroker"]
