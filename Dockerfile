# nlp-ft in a container, run as an ordinary user.
#
#     docker build --tag nlp-ft .
#     docker run --rm --volume "$PWD:/workspace" nlp-ft finetune --train_file reviews.csv --output_dir runs/reviews
#
# Build arguments:
#   BASE              base image. A CUDA base: --build-arg BASE=nvidia/cuda:12.9.1-cudnn-runtime-ubuntu24.04 (and then: docker run --gpus all)
#   TORCH_INDEX_ARGS  options for the pip that installs torch. On x86 pip takes the CUDA build, of several GB; for the small CPU
#                     build pass --index-url and the address of PyTorch's own CPU wheel index.
# The user has the id 1000; where a mounted folder belongs to another: docker run --user "$(id -u):$(id -g)".
ARG BASE=python:3.11-slim
FROM ${BASE}

LABEL org.opencontainers.image.title="nlp-ft" \
      org.opencontainers.image.description="Fine-tune BERT- and GPT-style checkpoints for text classification" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

ENV PATH=/opt/venv/bin:$PATH \
    HF_HOME=/data \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1

# Python where the base has none (CUDA's), an environment, and the user: some bases have one of this id already.
# hadolint ignore=DL3008
RUN if ! python3 -c "import ensurepip, venv"; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; \
    fi \
    && python3 -m venv /opt/venv \
    && (getent passwd 1000 || useradd --uid 1000 --user-group --create-home nlp-ft) \
    && install --directory --owner=1000 --group=1000 /data /workspace

# The dependencies, in layers of their own: a change of the source installs none of them again.
WORKDIR /opt/nlp-ft
COPY recipes/constraints.txt ./
ARG TORCH_INDEX_ARGS=""
# hadolint ignore=SC2086
RUN pip install ${TORCH_INDEX_ARGS} --constraint constraints.txt torch
COPY pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt \
    && pip install --constraint constraints.txt --requirement requirements.txt

COPY README.md LICENSE ./
COPY nlp_ft nlp_ft
RUN pip install --no-deps .

USER 1000:1000
WORKDIR /workspace
ENTRYPOINT ["nlp-ft"]
CMD ["--help"]
