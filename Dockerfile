# docker build -t vaegan .
# docker run --rm -v "$PWD:/work" vaegan demo             # on the CPU
# docker run --rm --gpus all -v "$PWD:/work" vaegan demo  # built with --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128
FROM python:3.12-slim

# The CPU build of PyTorch takes 0.7 GB, the default one with CUDA over 4 GB.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir torch torchvision --index-url "${TORCH_INDEX}"

COPY pyproject.toml README.md LICENSE MANIFEST.in /src/
COPY src /src/src
RUN pip install --no-cache-dir "/src[explore,video,export]" && rm -rf /src

# Results belong to whoever runs the container: docker run --user "$(id -u):$(id -g)" ...
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["vaegan"]
CMD ["--help"]
