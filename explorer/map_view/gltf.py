"""A mesh with one texture as binary glTF (Khronos, glTF 2.0, chapter 4: GLB), for scenegraph layers of deck.gl.

The axes are not converted: z is up, as in deck.gl's orbit view.
"""

import json
import struct

import numpy as np
from jaxtyping import Float, UInt8

from explorer.map_view.picture_files import encode_png

FLOAT_TYPE, UINT_TYPE = 5126, 5125  # componentType
ARRAY_BUFFER, ELEMENT_BUFFER = 34962, 34963  # target of a buffer view
NEAREST_FILTER, CLAMP_TO_EDGE = 9728, 33071


def glb_bytes(
    vertex: Float[np.ndarray, "vertex 3"],
    uv: Float[np.ndarray, "vertex 2"],
    face: np.ndarray,
    image: UInt8[np.ndarray, "row column channel"],
) -> bytes:
    """Triangles in metres; `uv` runs from the texture's first row and column (0) to its last (1). A texture of four
    channels is blended with what lies behind it."""
    png = encode_png(image)
    blocks = [vertex.astype("<f4").tobytes(), uv.astype("<f4").tobytes(), face.astype("<u4").tobytes(), png]
    padded = [block + b"\0" * (-len(block) % 4) for block in blocks]
    starts = np.cumsum([0, *map(len, padded)]).tolist()
    views = [{"buffer": 0, "byteOffset": a, "byteLength": len(b)} for a, b in zip(starts[:-1], blocks, strict=True)]
    for view, target in zip(views, (ARRAY_BUFFER, ARRAY_BUFFER, ELEMENT_BUFFER), strict=False):
        view["target"] = target
    low, high = (f(vertex, axis=0).astype("<f4").tolist() for f in (np.min, np.max))
    head = {
        "asset": {"version": "2.0"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}]}],
        "materials": [_material(is_blended=image.shape[2] == 4)],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [
            {"magFilter": NEAREST_FILTER, "minFilter": NEAREST_FILTER, "wrapS": CLAMP_TO_EDGE, "wrapT": CLAMP_TO_EDGE}
        ],
        "images": [{"bufferView": 3, "mimeType": "image/png"}],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": FLOAT_TYPE,
                "count": len(vertex),
                "type": "VEC3",
                "min": low,
                "max": high,
            },
            {"bufferView": 1, "componentType": FLOAT_TYPE, "count": len(uv), "type": "VEC2"},
            {"bufferView": 2, "componentType": UINT_TYPE, "count": int(face.size), "type": "SCALAR"},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": starts[-1]}],
    }
    return _packed(json.dumps(head, separators=(",", ":")).encode(), b"".join(padded))


def _material(is_blended: bool) -> dict[str, object]:
    colour = {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 1.0}
    material: dict[str, object] = {
        "pbrMetallicRoughness": colour,
        "doubleSided": True,
        "extensions": {"KHR_materials_unlit": {}},
    }
    return material | {"alphaMode": "BLEND"} if is_blended else material


def _packed(head: bytes, body: bytes) -> bytes:
    head += b" " * (-len(head) % 4)
    chunks = struct.pack("<II", len(head), 0x4E4F534A) + head + struct.pack("<II", len(body), 0x004E4942) + body
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks
