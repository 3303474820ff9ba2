"""torchvision ResNets as feature extractors (He et al. 2016)."""

from pathlib import Path

from torch import Tensor, nn
from torchvision import models as torchvision_models

from integral_pose.io.published_weights import published_file
from integral_pose.models.backbones.weight_files import fill, read_state_dict
from integral_pose.models.freezing import freeze_up_to

RESNETS = {
    "resnet18": (torchvision_models.resnet18, torchvision_models.ResNet18_Weights.IMAGENET1K_V1),
    "resnet34": (torchvision_models.resnet34, torchvision_models.ResNet34_Weights.IMAGENET1K_V1),
    "resnet50": (torchvision_models.resnet50, torchvision_models.ResNet50_Weights.IMAGENET1K_V1),
    "resnet101": (torchvision_models.resnet101, torchvision_models.ResNet101_Weights.IMAGENET1K_V1),
    "resnet152": (torchvision_models.resnet152, torchvision_models.ResNet152_Weights.IMAGENET1K_V1),
}
LAYER_OF_STRIDE = {4: "layer1", 8: "layer2", 16: "layer3", 32: "layer4"}
# Of RGB in 0..1 over ImageNet.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class ResNetFeatures(nn.Module):
    """A ResNet without its pooling and classifier: (B, 3, H, W) -> (B, C, H / stride, W / stride)."""

    image_mean, image_std = IMAGE_MEAN, IMAGE_STD

    def __init__(self, name: str, stride: int = 32) -> None:
        super().__init__()
        resnet = RESNETS[name][0](weights=None)
        self.name, self.num_channels = name, resnet.fc.in_features
        resnet.avgpool = resnet.fc = nn.Identity()
        if stride == 16:
            resnet.layer4 = nn.Identity()
            self.num_channels //= 2
        self.resnet = resnet

    def forward(self, images: Tensor) -> Tensor:
        """Normalised float images -> features."""
        net = self.resnet
        x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        return net.layer4(net.layer3(net.layer2(net.layer1(x))))

    def freeze(self, stride: int) -> None:
        """Keep the weights of everything up to the features of this stride."""
        freeze_up_to(self.resnet, LAYER_OF_STRIDE[stride])

    def load_pretrained(self, source: str) -> None:
        """Take the weights of a classifier: 'imagenet', or the path of a state dict.

        Raises CheckpointError if they cannot be had or are of another network.
        """
        path = _imagenet_file(self.name) if source == "imagenet" else Path(source)
        fill(self.resnet, read_state_dict(path), source, f"torchvision {self.name}")


def _imagenet_file(name: str) -> Path:
    return published_file(
        RESNETS[name][1].url,
        f"model.pretrained imagenet: the weights of {name}",
        "set model.pretrained to the path where it lies, or to null to start from random weights",
    )
