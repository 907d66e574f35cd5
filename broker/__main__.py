"""`python -m broker` is `valetkey-broker`."""

from broker.cli import main

if __name__ == "__main__":
    main()
