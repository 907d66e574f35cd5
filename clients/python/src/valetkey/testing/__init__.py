"""For tests of programs that use Valet Key: a broker in the test's own process. Extra `valetkey[testing]`."""

from valetkey.testing.fake_broker import FakeBroker

__all__ = ["FakeBroker"]
