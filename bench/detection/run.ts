import { defaultSensitivity } from '../../domain/detection/evaluators.ts';
import { NoveltyDetector, type NoveltySettings, noveltySettings } from '../../domain/detection/novelty.ts';
import { median } from '../harness/statistics.ts';
import { printGenerated } from './generated.ts';
import {
  type Alarm,
  type Alarms,
  bestScore,
  loadSeries,
  type Profile,
  profileNames,
  type Series,
  scoreAt,
} from './nab.ts';
import { alarmsByProduct } from './product.ts';
import { compareRebuild } from './rebuild.ts';

/** The least that the frozen settings must score, by profile. */
const floors: Readonly<Record<Profile, number>> = { standard: 72, 'low FP': 63, 'low FN': 76 };

/** No threshold below it is worth considering. */
const leastScore = 0.02;

/** The benchmark's own table, each with the threshold that is best on the files it is scored on. */
const published: readonly (readonly [string, number, number, number])[] = [
  ['Perfect', 100, 100, 100],
  ['ARTime', 74.9, 65.1, 80.4],
  ['Numenta HTM', 70.5, 62.6, 75.2],
  ['CAD OSE', 69.9, 67, 73.2],
  ['earthgecko Skyline', 58.2, 46.2, 63.9],
  ['KNN CAD', 58, 43.4, 64.8],
  ['Relative Entropy', 54.6, 47.6, 58.8],
  ['Random Cut Forest', 51.7, 38.4, 59.7],
  ['Twitter ADVec', 47.1, 33.6, 53.5],
  ['Windowed Gaussian', 39.6, 20.9, 47.4],
  ['Etsy Skyline', 35.7, 27.1, 44.5],
  ['Bayesian changepoint', 17.7, 3.2, 32.2],
  ['EXPoSE', 16.4, 3.2, 26.9],
  ['Random', 11, 1.2, 19.5],
  ['Null', 0, 0, 0],
];

if (process.argv.includes('--rebuild')) {
  await compareRebuild();
  process.exit();
}
if (!printGenerated()) {
  console.error('More than one false alarm in 1,000 values of a process without a fault');
  process.exitCode = 1;
}
const folder = process.env.NAB_DIR;
if (folder === undefined) {
  console.error(
    'Set NAB_DIR to a copy of https://github.com/numenta/NAB: the folder with data/ and labels/ (MIT, 10 MB)',
  );
  process.exit(2);
}
const series = loadSeries(folder);
const points = series.reduce((sum, { values }) => sum + values.length, 0);
console.log(`Numenta Anomaly Benchmark: ${series.length} files, ${points} points\n`);

const started = performance.now();
const frozen = alarmsOf(noveltySettings);
const perPoint = ((performance.now() - started) * 1000) / points;
const fixed = profileNames.map((profile) => scoreAt(defaultSensitivity, frozen, series, profile));
const best = profileNames.map((profile) => bestScore(frozen, series, profile));

const product = await alarmsByProduct(series);
const byProduct = profileNames.map((profile) => scoreAt(defaultSensitivity, product, series, profile));

print('Fieldlog, readings in, alarms out', byProduct);
print('Fieldlog, fixed sensitivity', fixed);
print('Fieldlog, threshold chosen in sample as all below', best);
const splits = heldOut();
for (const [i, profile] of profileNames.entries()) {
  const scores = splits.map((split) => split[i] as number);
  const [least, most] = [Math.min(...scores), Math.max(...scores)];
  console.log(
    `Fieldlog, held out, ${profile}: median ${median(scores).toFixed(1)} of ${scores.length} splits (${least.toFixed(1)} to ${most.toFixed(1)})`,
  );
}
for (const [name, ...scores] of published) console.log(`${name.padEnd(50)} ${scores.join(' / ')}`);
const [standard] = fixed;
console.log(
  `\nWindows met: ${standard?.met} of ${series.reduce((sum, { windows }) => sum + windows, 0)}; alarms outside: ${standard?.falseAlarms}, one in ${Math.round(points / (standard?.falseAlarms ?? 1))} points; ${perPoint.toFixed(2)} µs a point`,
);
if (profileNames.some((profile, i) => (byProduct[i]?.score ?? 0) < floors[profile])) {
  console.error(`Below the floor of ${Object.values(floors).join(' / ')}`);
  process.exitCode = 1;
}

function print(name: string, scores: readonly { readonly score: number }[]): void {
  console.log(`${name.padEnd(50)} ${scores.map(({ score }) => score.toFixed(1)).join(' / ')}`);
}

function alarmsOf(settings: NoveltySettings): Alarms {
  return new Map(series.map(({ file, values }) => [file, novelties(values, settings)]));
}

function novelties(values: readonly number[], settings: NoveltySettings): readonly Alarm[] {
  const detector = new NoveltyDetector(settings);
  const alarms: Alarm[] = [];
  for (const [index, value] of values.entries()) {
    const score = detector.next(value);
    if (score >= leastScore) alarms.push({ index, score });
  }
  return alarms;
}

/** Settings and threshold chosen on half of the files, scored on the other half: by profile, for each of 20 splits. */
function heldOut(): readonly (readonly number[])[] {
  const candidates = grid().map(alarmsOf);
  return Array.from({ length: 20 }, (_, split) => {
    const { train, test } = halves(split);
    return profileNames.map((profile) => {
      let chosen = candidates[0] as Alarms;
      let most = bestScore(chosen, train, profile);
      for (const candidate of candidates) {
        const result = bestScore(candidate, train, profile);
        if (result.score > most.score) [chosen, most] = [candidate, result];
      }
      return scoreAt(most.threshold, chosen, test, profile).score;
    });
  });
}

/** Settings on both sides of the frozen ones in every direction. */
function grid(): readonly NoveltySettings[] {
  const settings: NoveltySettings[] = [];
  for (const resolution of [0.03, 0.05, 0.08])
    for (const tail of [0.005, 0.01, 0.02])
      for (const outside of [0.25, 0.5, 1])
        for (const meanWeight of [0, 0.5, 0.75])
          for (const halfLife of [25, 50, 100])
            for (const rise of [1.25, 1.5, 2])
              settings.push({ resolution, tail, outside, meanWeight, fade: 0.5 ** (1 / halfLife), rise });
  return settings;
}

/** The files in an order that depends on `seed` alone, cut in the middle. */
function halves(seed: number): { readonly train: readonly Series[]; readonly test: readonly Series[] } {
  let state = seed + 1;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const shuffled = [...series];
  for (let i = shuffled.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    [shuffled[i], shuffled[j]] = [shuffled[j] as Series, shuffled[i] as Series];
  }
  const middle = Math.floor(shuffled.length / 2);
  return { train: shuffled.slice(0, middle), test: shuffled.slice(middle) };
}
