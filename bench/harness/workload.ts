/** Readings of a fleet, the same whatever protocol carries them. */
export type Workload = {
  readonly format: 'fieldlog' | 'influx';
  readonly devices: number;
  /** Readings in one request, each of another device. */
  readonly perRequest: number;
};

export const metricsPerReading = 4;

/** When the fleet's time begins; each device then measures once a second of its own time. */
const firstTime = Date.UTC(2026, 0, 1);
const step = 1000;

export const deviceId = (n: number): string => `bench-${String(n).padStart(5, '0')}`;

/** Bodies without end: the fleet in turn, then again a second later. No reading comes twice. */
export function bodies({ format, devices, perRequest }: Workload): () => string {
  const line = format === 'fieldlog' ? fieldlogReading : influxLine;
  const templates = Array.from({ length: Math.ceil(devices / perRequest) }, (_, request) => {
    const readings = Array.from({ length: perRequest }, (_, i) => line((request * perRequest + i) % devices));
    return (format === 'fieldlog' ? asJson(readings) : readings.join('\n')).split(timeMark);
  });
  let next = 0;
  return () => {
    const template = templates[next % templates.length] as string[];
    const time = firstTime + Math.floor(next / templates.length) * step;
    next += 1;
    return template.join(String(time));
  };
}

const timeMark = '@time';

const asJson = (readings: readonly string[]): string =>
  readings.length === 1 ? (readings[0] as string) : `[${readings.join(',')}]`;

/** When the `n`th reading of a fleet was taken. */
export const readingTime = (n: number, devices: number): number => firstTime + Math.floor(n / devices) * step;

/** Values with as many digits as sensors have. */
export const metricsOf = (n: number): Record<string, number> => ({
  temperature: 15 + (n % 130) / 10,
  humidity: 40 + (n % 417) / 10,
  pressure: 990 + (n % 333) / 10,
  battery: 3.3 + (n % 90) / 100,
});

const fieldlogReading = (n: number): string =>
  `{"deviceId":"${deviceId(n)}","timestamp":${timeMark},"metrics":${JSON.stringify(metricsOf(n))}}`;

const influxLine = (n: number): string => {
  const fields = Object.entries(metricsOf(n)).map(([name, value]) => `${name}=${value}`);
  return `telemetry,device=${deviceId(n)} ${fields.join(',')} ${timeMark}`;
};
