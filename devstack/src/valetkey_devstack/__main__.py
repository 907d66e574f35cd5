"""`python -m valetkey_devstack` is `make demo`."""

from valetkey_broker.__main__ import start

if __name__ == "__main__":
    start("valetkey_devstack.demo_command")
