# docker build -t vaegan .
# docker run --rm -v "$PWD:/work" vaegan demo             # on the CPU
# docker run --rm --gpus all -v "$PWD:/work" vaegan demo  # on a GPU
# docker run --rm --network host -v "$PWD:/work" vaegan explore --no-browser  # the page, on Linux
FROM python:3.12-slim

# The default build of PyTorch brings 4 GB of CUDA along. PIP_OPTIONS can name the package index of another build.
ARG PIP_OPTIONS=""
# hadolint ignore=DL3013
RUN pip install --no-cache-dir torch torchvision ${PIP_OPTIONS}

COPY pyproject.toml README.md LICENSE MANIFEST.in /src/
COPY src /src/src
RUN pip install --no-cache-dir "/src[explore,video,export]" && rm -rf /src

# Results belong to whoever runs the container: docker run --user "$(id -u):$(id -g)" ...
# That user is in no passwd file, so PyTorch needs a home and a name.
ENV HOME=/tmp USER=vaegan
WORKDIR /work
ENTRYPOINT ["vaegan"]
CMD ["--help"]
