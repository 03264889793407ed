"""`python -m yoyak` is the same program as `yoyak`."""

from yoyak.cli.main import main

if __name__ == "__main__":
    main()
