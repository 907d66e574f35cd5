"""`python -m broker.devstack` is `make demo`."""

from broker.__main__ import start

if __name__ == "__main__":
    start("broker.devstack.demo")
