# One image for every process; compose.yaml says which runs which. See docs/deploy.md.
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONPYCACHEPREFIX=/tmp/pycache

WORKDIR /app

# The hashed requirements by the same script as everywhere, before the code, so that a change of code reinstalls nothing.
COPY scripts/setup scripts/setup
COPY pyproject.toml requirements.txt ./
RUN scripts/setup

COPY Procfile ./
COPY docs/runbook* docs/
COPY payments payments
COPY webhooks webhooks
COPY worker worker
COPY repasse repasse
COPY scripts/repasse scripts/run_job scripts/books scripts/register_webhook scripts/

# A user without a password, a home or rights to the code. /data is for SQLite and backups.
RUN useradd --system --no-create-home --uid 10001 repasse && install -d -o repasse -m 0700 /data
# By number, so that Kubernetes' runAsNonRoot can check it.
USER 10001
VOLUME /data

ENV PATH=/app/.venv/bin:$PATH \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATABASE_URL=sqlite:////data/repasse.db
EXPOSE 8000
STOPSIGNAL SIGTERM

# For the web process; compose.yaml switches it off for the others. Live and not ready, because a process whose bank or
# database is away goes on when it is back, and must not be killed. Never through a proxy, whatever http_proxy says.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/live', timeout=4)"]

CMD ["python", "-m", "webhooks"]
