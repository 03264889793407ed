# Runs the pipeline, on an NVIDIA GPU if the container gets one. Build it in the root of the repository:
#   docker build -f containers/train.Dockerfile -t yoyak-train .
#   docker run --rm --gpus all -v ./data/raw:/yoyak/data/raw -v yoyak-cache:/yoyak/.dvc/cache yoyak-train
# Without --gpus all it trains on the CPU. TORCH_INDEX=https://download.pytorch.org/whl/cpu makes the image smaller by gigabytes.

FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ git make && rm -rf /var/lib/apt/lists/*
ARG TORCH_INDEX=
WORKDIR /yoyak
COPY . .
RUN make setup TORCH_INDEX=$TORCH_INDEX
ENV PATH=/yoyak/.venv/bin:$PATH
CMD ["dvc", "repro"]
