# docker build -t vaegan .
# docker run --rm -v "$PWD:/work" vaegan demo             # on the CPU
# docker run --rm --gpus all -v "$PWD:/work" vaegan demo  # built with --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128
FROM python:3.12-slim

# The default build of PyTorch brings 4 GB of CUDA along; the one for the CPU does not.
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
