"""`python -m tap_partnercenter` is the command `tap-partnercenter`."""

from tap_partnercenter.tap import TapPartnerCenter

TapPartnerCenter.cli()
