# All of uel, from the repository's root. Not built by the project's tests: its machines have no container engine.
#   docker build -t uel .
#   docker run --rm -it -v "$PWD:/work" uel doctor
#   docker run --rm -p 127.0.0.1:8501:8501 -v "$PWD:/work:ro" uel explore --server-address 0.0.0.0 runs/demo
# CUDA: the same image, since PyTorch's wheel brings CUDA's libraries and the driver brings OptiX for Dr.Jit. The host
# needs a driver R535 or newer and NVIDIA's container toolkit:
#   docker run --rm -it --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics -v "$PWD:/work" uel doctor
FROM python:3.12-slim-bookworm

# Sionna RT needs an LLVM on a CPU; libgomp is PyTorch's and shapely's.
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends libllvm19 libgomp1 \
    && rm -rf /var/lib/apt/lists/*

COPY . /src
RUN pip install --no-cache-dir --require-hashes -r /src/requirements.lock \
    && pip install --no-cache-dir --no-deps --no-build-isolation /src \
    && useradd --create-home uel

USER uel
WORKDIR /work
EXPOSE 8501
# 0.0.0.0 inside of the container, for `uel explore`; who is let in is what `-p` and the proxy before it say. It answers
# at /_stcore/health.
ENTRYPOINT ["uel"]
CMD ["--help"]
