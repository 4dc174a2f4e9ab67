"""Networks of images: convolutions, normalisation, skip connections."""

import torch
import torch.nn.functional as F
from torch import nn

from .registry import example


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 4, 3)
        self.fc1 = nn.Linear(4 * 3 * 3, 10)
        self.fc2 = nn.Linear(10, 5)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.relu(self.conv2(x))
        x = torch.flatten(F.max_pool2d(x, 2, ceil_mode=True), 1)
        return self.fc2(torch.tanh(self.fc1(x)))


@example
def lenet():
    return LeNet(), nn.CrossEntropyLoss(), torch.randn(4, 1, 14, 14), torch.randint(0, 5, (4,))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += identity
        return F.relu(out, inplace=True)


class ResNet(nn.Module):
    def __init__(self, widths=(4, 6), classes=3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        self.layer1 = BasicBlock(widths[0], widths[0])
        self.layer2 = BasicBlock(widths[0], widths[1], stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[1], classes)

    def forward(self, x):
        return self.fc(self.pool(self.layer2(self.layer1(self.stem(x)))).flatten(1))


@example
def resnet_training():
    return ResNet(), nn.CrossEntropyLoss(label_smoothing=0.1), torch.randn(4, 3, 8, 8), torch.randint(0, 3, (4,))


@example
def resnet_evaluation():
    model = ResNet()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 3, 8, 8))
    return model.eval(), nn.CrossEntropyLoss(), torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2,))


class DoubleConv(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate"), nn.GroupNorm(2, outputs), nn.SiLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1), nn.GroupNorm(2, outputs), nn.SiLU(),
        )  # fmt: skip


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2 = DoubleConv(1, 4), DoubleConv(4, 6)
        self.bottom = DoubleConv(6, 8)
        self.up2, self.up1 = nn.ConvTranspose2d(8, 6, 2, stride=2), nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.conv2, self.conv1 = DoubleConv(12, 6), DoubleConv(8, 4)
        self.head = nn.Conv2d(4, 1, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        first = self.down1(x)
        second = self.down2(self.pool(first))
        x = self.bottom(self.pool(second))
        x = self.conv2(torch.cat([self.up2(x), second], dim=1))
        x = self.conv1(torch.cat([self.up1(x), first], dim=1))
        return self.head(x)


def dice_and_cross_entropy(logits, target):
    p = torch.sigmoid(logits)
    overlap = (p * target).sum(dim=(1, 2, 3))
    dice = 1 - (2 * overlap + 1) / (p.sum(dim=(1, 2, 3)) + target.sum(dim=(1, 2, 3)) + 1)
    return dice.mean() + F.binary_cross_entropy_with_logits(logits, target)


@example
def unet():
    return UNet(), dice_and_cross_entropy, torch.randn(2, 1, 8, 8), (torch.rand(2, 1, 8, 8) > 0.5).double()


class SqueezeExcite(nn.Module):
    def __init__(self, channels, reduced):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, reduced, 1), nn.Conv2d(reduced, channels, 1)

    def forward(self, x):
        scale = F.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.fc2(F.silu(self.fc1(scale))))


class InvertedResidual(nn.Module):
    def __init__(self, channels, expanded):
        super().__init__()
        self.expand = nn.Conv2d(channels, expanded, 1, bias=False)
        self.depthwise = nn.Conv2d(expanded, expanded, 3, padding=1, groups=expanded, bias=False)
        self.attend = SqueezeExcite(expanded, 2)
        self.project = nn.Conv2d(expanded, channels, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(expanded), nn.BatchNorm2d(expanded), nn.BatchNorm2d(channels)])

    def forward(self, x):
        y = F.hardswish(self.norms[0](self.expand(x)))
        y = F.relu6(self.norms[1](self.depthwise(y)))
        return x + self.norms[2](self.project(self.attend(y)))


@example
def mobile_net():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), InvertedResidual(4, 8), nn.AvgPool2d(2, padding=1), nn.Flatten(),
        nn.LazyLinear(3),
    )  # fmt: skip
    x = torch.randn(4, 3, 9, 9)
    model(x)
    return model, nn.CrossEntropyLoss(), x, torch.randint(0, 3, (4,))


class DenseLayer(nn.Module):
    def __init__(self, inputs, growth):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, growth, 3, padding=1)

    def forward(self, features):
        return self.conv(F.relu(self.norm(torch.cat(features, 1))))


class DenseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([DenseLayer(2 + 3 * k, 3) for k in range(3)])
        self.head = nn.Linear(11, 4)

    def forward(self, x):
        features = [x]
        for layer in self.layers:
            features.append(layer(features))
        return self.head(torch.cat(features, 1).mean(dim=(2, 3)))


@example
def dense_net():
    weights = torch.tensor([1.0, 2.0, 0.5, 1.5])
    return DenseNet(), nn.CrossEntropyLoss(weight=weights), torch.randn(3, 2, 5, 5), torch.randint(0, 4, (3,))


class PatchEmbedding(nn.Module):
    def __init__(self, width, patches):
        super().__init__()
        self.proj = nn.Conv2d(3, width, 4, stride=4)
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos = nn.Parameter(torch.randn(1, patches + 1, width) * 0.02)

    def forward(self, x):
        x = self.proj(x).flatten(2).transpose(1, 2)
        return torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1) + self.pos


class ViT(nn.Module):
    def __init__(self, width=8, heads=2):
        super().__init__()
        self.embed = PatchEmbedding(width, 4)
        layer = nn.TransformerEncoderLayer(width, heads, 12, dropout=0.0, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.norm(self.encoder(self.embed(x)))[:, 0])


@example
def vit():
    return ViT(), nn.CrossEntropyLoss(), torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2,))


class MixerBlock(nn.Module):
    def __init__(self, tokens, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, 6), nn.GELU(approximate="tanh"), nn.Linear(6, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 10), nn.GELU(), nn.Linear(10, width))

    def forward(self, x):
        x = x + self.tokens(self.norm1(x).mT).mT
        return x + self.channels(self.norm2(x))


@example
def mlp_mixer():
    model = nn.Sequential(nn.Unflatten(1, (4, 6)), MixerBlock(4, 6), MixerBlock(4, 6), nn.Flatten(), nn.Linear(24, 2))
    return model, nn.MultiMarginLoss(), torch.randn(3, 24), torch.randint(0, 2, (3,))


class SuperResolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2, padding_mode="reflect")
        self.conv2 = nn.Conv2d(6, 4, 3, padding="same", dilation=2)
        self.act = nn.PReLU(6)

    def forward(self, x):
        y = self.conv2(self.act(self.conv1(x)))
        return F.pixel_shuffle(y, 2) + F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


@example
def super_resolution():
    return SuperResolution(), nn.SmoothL1Loss(beta=0.5), torch.rand(2, 1, 6, 6), torch.rand(2, 1, 12, 12)


class SpatialTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.locate = nn.Sequential(nn.Flatten(), nn.Linear(36, 6))
        self.classify = nn.Linear(36, 2)

    def forward(self, x):
        theta = 0.1 * self.locate(x).view(-1, 2, 3) + torch.eye(2, 3)
        grid = F.affine_grid(theta, x.shape, align_corners=False)
        return self.classify(F.grid_sample(x, grid, align_corners=False).flatten(1))


@example
def spatial_transformer():
    return SpatialTransformer(), nn.CrossEntropyLoss(), torch.randn(3, 1, 6, 6), torch.tensor([0, 1, 1])


def yolo_loss(output, target):
    box, objectness, label = target
    xy = torch.sigmoid(output[:, :2])
    wh = torch.exp(output[:, 2:4].clamp(max=4.0))
    mask = objectness.bool().unsqueeze(1).expand(-1, 4, -1, -1)
    boxes = torch.cat([xy, wh], 1)
    return (
        F.mse_loss(boxes[mask], box[mask])
        + F.binary_cross_entropy_with_logits(output[:, 4], objectness, pos_weight=torch.tensor(3.0))
        + F.cross_entropy(output[:, 5:], label, ignore_index=-1)
    )


@example
def detector():
    model = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(6, 8, 1))
    objectness = (torch.rand(2, 3, 3) > 0.5).double()
    label = torch.where(objectness.bool(), torch.randint(0, 3, (2, 3, 3)), -1)
    return model, yolo_loss, torch.randn(2, 3, 6, 6), (torch.rand(2, 4, 3, 3), objectness, label)


@example
def video():
    model = nn.Sequential(
        nn.Conv3d(1, 2, (2, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(2), nn.ELU(), nn.AvgPool3d((1, 2, 2)),
        nn.AdaptiveMaxPool3d((2, 1, 1)), nn.Flatten(), nn.Linear(4, 2),
    )  # fmt: skip
    return model, nn.MSELoss(), torch.randn(2, 1, 4, 6, 6), torch.randn(2, 2)
