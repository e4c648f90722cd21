"""Parity of the PHY and SYS layers with Sionna 1.2.2, the last that ran on TensorFlow: `make parity`.

From version 2 on Sionna computes with PyTorch. The figures of the version before are a second opinion by other code:

- `inputs.json`: paths, channels of three cells, SINRs. Drawn once, cut to few digits, kept.
- `sionna_tf.py`: Sionna 1.2.2's figures of them. It runs in `.parity/`, an environment of its own that
  `requirements.txt` pins (2 GB; the release without the ray tracer), and imports nothing of this repository.
- `chain.py`: what this repository makes of them.
- `compare.py`: both sides, with the limits. `make parity` prints a table, and says whether the committed figures
  (`tests/golden/sionna.json`) are still Sionna's. `tests/parity/test_parity.py` compares with those, without
  TensorFlow.

Compared are frequency response, taps, SINR after LMMSE reception, effective SINR, block sizes, block error rates and
the inner loop of link adaptation; the chain has no outer loop. Two faults of 1.2.2 are left out: its LMMSE block
counts interference twice (2.2.0's too; `tests/uel/radio/test_mimo.py`), and its inner loop can take an MCS without a
table.
"""
