import type { NewEvent } from '../../application/ports/event-store.ts';

/** Readings of a fleet, the same whatever protocol carries them. */
export type Workload = {
  readonly format: 'fieldlog' | 'influx';
  readonly devices: number;
  /** Readings in one request, each of another device. */
  readonly perRequest: number;
  /** Whether values change from reading to reading, as those of sensors do; otherwise a device repeats its own. */
  readonly varies?: true;
};

export const metricsPerReading = 4;

/** When the fleet's time begins; each device then measures once a second of its own time. */
const firstTime = Date.UTC(2026, 0, 1);
const step = 1000;

export const deviceIds = (count: number): string[] => Array.from({ length: count }, (_, n) => deviceId(n));

export const deviceId = (n: number): string => `bench-${String(n).padStart(5, '0')}`;

/** Bodies without end: the fleet in turn, then again a second later. No reading comes twice. */
export function bodies({ format, devices, perRequest, varies }: Workload): () => string {
  const turn = Math.ceil(devices / perRequest);
  let next = 0;
  if (varies)
    return () => {
      const readings = varyingReadings(next * perRequest, perRequest, devices);
      next += 1;
      return bodyOf(format, readings);
    };
  const templates = Array.from({ length: turn }, (_, request) => {
    const readings = Array.from({ length: perRequest }, (_, i) => {
      const device = (request * perRequest + i) % devices;
      return { deviceId: deviceId(device), timestamp: timeMark, metrics: metricsOf(device) };
    });
    return bodyOf(format, readings).split(timeMark);
  });
  return () => {
    const template = templates[next % turn] as string[];
    const time = firstTime + Math.floor(next / turn) * step;
    next += 1;
    return template.join(String(time));
  };
}

const timeMark = '@time';

type Sent = { readonly deviceId: string; readonly timestamp: number | string; readonly metrics: object };

function bodyOf(format: Workload['format'], readings: readonly Sent[]): string {
  const documents = readings.map(format === 'influx' ? influxLine : fieldlogReading);
  if (format === 'influx') return documents.join('\n');
  return documents.length === 1 ? (documents[0] as string) : `[${documents.join(',')}]`;
}

const fieldlogReading = ({ deviceId, timestamp, metrics }: Sent): string =>
  `{"deviceId":"${deviceId}","timestamp":${timestamp},"metrics":${JSON.stringify(metrics)}}`;

function influxLine({ deviceId, timestamp, metrics }: Sent): string {
  const fields = Object.entries(metrics).map(([name, value]) => `${name}=${value}`);
  return `telemetry,device=${deviceId} ${fields.join(',')} ${timestamp}`;
}

/** Readings `from` and those that follow, as `bodies` sends them. */
export const fleetReadings = (from: number, count: number, devices: number) =>
  Array.from({ length: count }, (_, i) => {
    const n = from + i;
    const device = n % devices;
    return { deviceId: deviceId(device), timestamp: readingTime(n, devices), metrics: metricsOf(device) };
  });

/** The same, but that values change as those of sensors do: a wave of a minute, noise, two decimals. */
export const varyingReadings = (from: number, count: number, devices: number) =>
  fleetReadings(from, count, devices).map((reading, i) => {
    const n = from + i;
    const minutes = Math.floor(n / devices) / 60;
    const metrics = Object.entries(reading.metrics).map(([name, value], metric) => {
      const wave = 2 * Math.sin(2 * Math.PI * (minutes + (n % devices) / devices));
      return [name, Math.round(100 * (value + wave + noise(4 * n + metric))) / 100];
    });
    return { ...reading, metrics: Object.fromEntries(metrics) as Record<string, number> };
  });

/** From 0 to 1, the same for the same `n`. */
function noise(n: number): number {
  const mixed = Math.imul(n ^ (n >>> 15), 0x2c1b3c6d);
  return ((Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39) ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
}

/** When the `n`th reading of a fleet was taken. */
export const readingTime = (n: number, devices: number): number => firstTime + Math.floor(n / devices) * step;

/** Values with as many digits as sensors have. */
export const metricsOf = (n: number): Record<string, number> => ({
  temperature: 15 + (n % 130) / 10,
  humidity: 40 + (n % 417) / 10,
  pressure: 990 + (n % 333) / 10,
  battery: 3.3 + (n % 90) / 100,
});

/** As long as those that come with requests: it is a fifth of what is stored of a reading. */
export const correlationId = '01890000-0000-7000-8000-000000000000';

export const deviceDetails = { name: 'Boiler', type: 'boiler', labels: { site: 'north' } };

/** What happened to a device: its registration and then new names. */
export const deviceHistory = (n: number, events: number): (NewEvent & { data: { deviceId: string } })[] =>
  Array.from({ length: events }, (_, revision) => ({
    id: `${String(n).padStart(8, '0')}-0000-5000-8000-${String(revision).padStart(12, '0')}`,
    type: revision === 0 ? 'DeviceRegistered' : 'DeviceDetailsChanged',
    data:
      revision === 0
        ? { deviceId: deviceId(n), ...deviceDetails }
        : { deviceId: deviceId(n), name: `Boiler ${revision}` },
    metadata: {
      $correlationId: `01890000-0000-7000-8000-${String(n).padStart(12, '0')}`,
      $causationId: `01890000-0000-7000-8000-${String(n).padStart(12, '0')}`,
      actor: 'bench',
      recordedAt: new Date(firstTime + n * events + revision).toISOString(),
      schemaVersion: 1,
    },
  }));
