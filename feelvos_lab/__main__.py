"""`python -m feelvos_lab …` is `feelvos-lab …`; under torchrun too."""

from feelvos_lab.cli.main import main

if __name__ == "__main__":
    main()
