# datac on a CUDA 13 machine: search, train, compile, check and bench on its GPU.
#   docker build --tag datac .
#   docker run --rm --gpus all --user "$(id -u)" --volume "$PWD:/work" datac search --device cuda
FROM nvidia/cuda:13.0.2-cudnn-runtime-ubuntu24.04

# Ubuntu's archive drops superseded versions, so a pinned one soon cannot be installed.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY . .
RUN python3 -m venv /opt/datac \
    && /opt/datac/bin/pip install --no-cache-dir --constraint constraints.txt '.[search,gpu]'
ENV PATH=/opt/datac/bin:$PATH

WORKDIR /work
RUN chmod a+rwx /work
USER 10001
# torch keeps caches under HOME, which a user without a name does not have.
ENV HOME=/tmp
ENTRYPOINT ["datac"]
