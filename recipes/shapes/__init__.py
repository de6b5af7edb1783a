"""How the embedded detector was made, on picturebook's scenes. See README.md."""

from vlmcli.models.torchvision_shim import mend_torchvision

mend_torchvision()  # transformers imports torchvision wherever a model class is touched
