"""Text and pictures to features, on the server: the client never runs a model of this size."""

from privfedmm.encoders.cache import FeatureCache, content_key
from privfedmm.encoders.choose import image_encoder, text_encoder
from privfedmm.encoders.encode import Content, Encoded, Report, encode_all
from privfedmm.encoders.pixels import KINDS, open_picture
from privfedmm.encoders.protocol import ContentError, Encode, Encoder, EncoderError
from privfedmm.encoders.settings import EncoderSettings

__all__ = [
    "KINDS", "Content", "ContentError", "Encode", "Encoded", "Encoder", "EncoderError",
    "EncoderSettings", "FeatureCache", "Report", "content_key", "encode_all", "image_encoder",
    "open_picture", "text_encoder",
]
