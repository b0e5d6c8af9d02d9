import { catchUp } from './figures/catch-up.ts';
import { commandsDistributed } from './figures/commands-distributed.ts';
import { commandsEmbedded } from './figures/commands-embedded.ts';
import { cost } from './figures/cost.ts';
import { disk } from './figures/disk.ts';
import { fleet } from './figures/fleet.ts';
import { idle } from './figures/idle.ts';
import { ingestEmbedded } from './figures/ingest-embedded.ts';
import { ingestKafka } from './figures/ingest-kafka.ts';
import { live } from './figures/live.ts';
import { memory } from './figures/memory.ts';
import { mqtt } from './figures/mqtt.ts';
import { projectDetection } from './figures/project-detection.ts';
import { projectEmbedded } from './figures/project-embedded.ts';
import { projectKafka } from './figures/project-kafka.ts';
import { rangeQuery } from './figures/range-query.ts';
import { rebuildBeside } from './figures/rebuild-beside.ts';
import { rebuildDevices } from './figures/rebuild-devices.ts';
import { rebuildTelemetry } from './figures/rebuild-telemetry.ts';
import { scale } from './figures/scale.ts';
import { sharedStore } from './figures/shared-store.ts';
import { slo } from './figures/slo.ts';
import { springBoot } from './figures/spring-boot.ts';
import { startUp } from './figures/start-up.ts';
import { lineProtocol, timeSeries } from './figures/time-series.ts';
import type { Bench } from './harness/bench.ts';
import type { Pending, Row } from './harness/row.ts';

type Figure = {
  readonly part: string;
  readonly file: string;
  /** Taken in the distributed profile only. */
  readonly needsServers?: true;
  readonly measure: (bench: Bench) => Promise<readonly (Row | Pending)[]>;
};

export const figures: readonly Figure[] = [
  { part: 'ingest', file: 'ingest-embedded', measure: ingestEmbedded },
  { part: 'ingest', file: 'ingest-kafka', needsServers: true, measure: ingestKafka },
  { part: 'project', file: 'project-embedded', measure: projectEmbedded },
  { part: 'project', file: 'project-detection', measure: projectDetection },
  { part: 'project', file: 'project-kafka', needsServers: true, measure: projectKafka },
  { part: 'commands', file: 'commands-embedded', measure: commandsEmbedded },
  { part: 'commands', file: 'commands-distributed', measure: commandsDistributed },
  { part: 'replay', file: 'rebuild-devices', measure: rebuildDevices },
  { part: 'replay', file: 'rebuild-telemetry', measure: rebuildTelemetry },
  { part: 'replay', file: 'rebuild-beside', measure: rebuildBeside },
  { part: 'replay', file: 'catch-up', measure: catchUp },
  { part: 'replay', file: 'shared-store', measure: sharedStore },
  { part: 'live', file: 'live', measure: live },
  { part: 'mqtt', file: 'mqtt', measure: mqtt },
  { part: 'e2e', file: 'time-series', measure: timeSeries },
  { part: 'e2e', file: 'line-protocol', measure: lineProtocol },
  { part: 'e2e', file: 'memory', measure: memory },
  { part: 'e2e', file: 'disk', measure: disk },
  { part: 'e2e', file: 'cost', needsServers: true, measure: cost },
  { part: 'e2e', file: 'spring-boot', needsServers: true, measure: springBoot },
  { part: 'e2e', file: 'range-query', measure: rangeQuery },
  { part: 'e2e', file: 'scale', measure: scale },
  { part: 'e2e', file: 'idle', measure: idle },
  { part: 'e2e', file: 'start-up', measure: startUp },
  { part: 'scale', file: 'fleet', needsServers: true, measure: fleet },
  { part: 'slo', file: 'slo', needsServers: true, measure: slo },
];

export const parts: readonly string[] = [...new Set(figures.map(({ part }) => part))];
