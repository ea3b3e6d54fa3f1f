"""`python -m experiments` is the program `privfedmm`."""

from experiments.start import main

if __name__ == "__main__":
    main()
