"""How picturebook-draw was made: orders, stages, evaluation. See README.md."""

from vlmcli.models.torchvision_shim import mend_torchvision

mend_torchvision()  # transformers imports torchvision wherever a model class is touched
