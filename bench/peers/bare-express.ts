import type { AddressInfo } from 'node:net';
import express from 'express';

/** What every Express service does before it does anything: takes the body, parses it and answers. Stores nothing. */
const app = express();
app.use(express.json({ limit: '10mb' }));
app.post('/api/v1/telemetry', (req, res) => {
  res.status(202).json({ accepted: Array.isArray(req.body) ? req.body.length : 1 });
});
const server = app.listen(0, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
process.on('SIGTERM', () => process.exit(0));
