# Serves a trained model on a CPU: yoyak serve. Build it in the root of the repository:
#   docker build -f containers/serve.Dockerfile -t yoyak-serve .
#   docker run --rm -p 8000:8000 -e YOYAK_SERVE_KEY -v ./packages/kobart:/model:ro yoyak-serve
# The packages have hashes (requirements.lock, requirements-serve.lock); torch comes from TORCH_INDEX, here its CPU builds.

FROM python:3.11-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ make && rm -rf /var/lib/apt/lists/*
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /yoyak
COPY Makefile pyproject.toml README.md LICENSE ./
COPY requirements.txt requirements.lock requirements-serve.txt requirements-serve.lock ./
COPY tools tools
COPY src src
RUN make .venv/ready-serve TORCH_INDEX=$TORCH_INDEX

FROM python:3.11-slim
COPY --from=build /yoyak /yoyak
# The server writes nothing but temporary files, so it needs no rights.
RUN useradd --uid 10001 --no-create-home yoyak
USER yoyak
WORKDIR /tmp
ENV PATH=/yoyak/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 HF_HOME=/tmp/huggingface
EXPOSE 8000
# A container is reached from outside, so the server starts only with a key: docker run -e YOYAK_SERVE_KEY
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["yoyak", "serve"]
CMD ["/model", "--host", "0.0.0.0", "--port", "8000"]
