"""`python -m valetkey_console`."""

from valetkey_console.cli import main

if __name__ == "__main__":
    main()
