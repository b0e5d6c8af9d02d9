# One image for every role: `serve`, `api`, `device-projector`, `telemetry-projector`. Nothing is built, Node runs
# the sources as they are. A test runs the entry point with exactly the files that are copied here.
FROM node:24.21.0-bookworm-slim

ENV NODE_ENV=production
WORKDIR /app

COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force

COPY domain domain
COPY application application
COPY infrastructure infrastructure
COPY interfaces interfaces
COPY deploy/container/health.mjs deploy/container/health.mjs

# The code stays root's: what runs cannot change it. By number, so that Kubernetes can see it is not root.
RUN install -d -o 1000 -g 1000 /var/lib/fieldlog
USER 1000:1000
ENV HOST=0.0.0.0 DATA_DIR=/var/lib/fieldlog

EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "deploy/container/health.mjs", "api"]
ENTRYPOINT ["node", "--max-semi-space-size=16", "interfaces/cli/fieldlog.mjs"]
CMD ["serve"]
