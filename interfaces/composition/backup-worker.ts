import { workerData } from 'node:worker_threads';
import type { Config } from '../../infrastructure/config/config.ts';
import type { BackupManifest } from '../../infrastructure/sqlite/backup.ts';
import { WorkerEndpoint } from '../../infrastructure/worker-channel.ts';
import { backUpStore } from './backups.ts';
import { lowerThreadPriority } from './process.ts';

/** Reads whole files: beside the requests, and behind them. */
const thread = new WorkerEndpoint<string, BackupManifest>();
lowerThreadPriority();
thread.serve((target) => backUpStore(workerData as Config, target, false));
await thread.closed;
thread.end();
