"""The I/O side of targets: one module per kind. Specifications and validation are in `ostinato.scheduling.targets`."""
