/** Lines over time, one below the other: gaps are gaps, alarms are bands, and new points are added at the end. */
import uPlot from '/dashboard/uplot.js';
import { brief } from './elements.js';

/** Told apart by luminance as well as by hue. */
const colours = ['--line-1', '--line-2', '--line-3', '--line-4', '--line-5', '--line-6'];

/** Of the axis of time, by the least seconds from one label to the next: what each says, and below it a new year or day. */
const none = null;
const timeLabels = [
  [31_536_000, '{YYYY}', none, none, none, none, none, none, 1],
  [2_419_200, '{MMM}', '\n{YYYY}', none, none, none, none, none, 1],
  [86_400, '{D} {MMM}', '\n{YYYY}', none, none, none, none, none, 1],
  [60, '{HH}:{mm}', '\n{D} {MMM} {YYYY}', none, '\n{D} {MMM}', none, none, none, 1],
  [1, '{HH}:{mm}:{ss}', '\n{D} {MMM} {YYYY}', none, '\n{D} {MMM}', none, none, none, 1],
];

/**
 * @typedef {{ at: number, value: number | null }} Point Epoch seconds.
 * @typedef {{ from: number, to: number, metric: string | null }} Band `null` for a band on each line.
 * @typedef {object} Shown
 * @property {readonly string[]} names
 * @property {readonly (readonly Point[])[]} lines Of the same order.
 * @property {readonly boolean[]} areStates Lines of false (0) and true (1), which change at once.
 * @property {readonly Band[]} bands
 * @property {number} from
 * @property {number} to
 */

/**
 * A gap is a time in which a device that usually sends said nothing: over five times what usually lies between two of
 * its points.
 * @param {readonly Point[]} points in order of time
 * @returns {readonly Point[]} with a hole in each gap
 */
export function withGaps(points) {
  const steps = points
    .slice(1)
    .map(({ at }, i) => at - points[i].at)
    .sort((a, b) => a - b);
  const usual = steps[Math.floor(steps.length / 2)] ?? 0;
  const longest = Math.max(usual * 5, 1);
  return points.flatMap((point, i) => {
    const before = points[i - 1];
    return before && point.at - before.at > longest
      ? [{ at: before.at + usual, value: null }, point]
      : [point];
  });
}

/** Times and values as uPlot takes them: `null` for a hole. */
const columns = (/** @type {readonly Point[]} */ points) => [
  points.map(({ at }) => at),
  points.map(({ value }) => value),
];

/** A colour of the page's scheme, as a canvas takes it. */
function colour(/** @type {string} */ name) {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

const date = uPlot.fmtDate('{D} {MMM} {YYYY} {HH}:{mm}:{ss}');

/** @param {number | null | undefined} value @param {boolean} isState */
function legendValue(value, isState) {
  if (value == null) return '–';
  return isState ? String(value === 1) : brief(value);
}

/** What the legend says while nobody points at a line. */
const newest = (/** @type {uPlot} */ { data: [, values] }) => values?.findLast((value) => value !== null);

/** Whatever of lines needs others to be drawn. */
const nameOf = (/** @type {Shown} */ { names, areStates }) =>
  names.map((name, i) => `${name} ${areStates[i]}`).join();

/** How many there were. */
let charts = 0;

/** Each line has an axis of its own: what is measured in thousands would flatten what is measured in tenths. */
export class Chart {
  /** Where it is drawn. */
  root;
  /** @type {readonly uPlot[]} */
  #plots = [];
  #names = '';
  #resized;
  #scheme = matchMedia('(prefers-color-scheme: dark)');
  #again = () => this.#build();
  /** @type {Shown} */
  #shown = { names: [], lines: [], areStates: [], bands: [], from: 0, to: 0 };
  /** Whether a part of the time was chosen, which then stays. */
  #isZoomed = false;
  /** Of the lines that have the cursor together. */
  #group;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    charts += 1;
    this.#group = `chart-${charts}`;
    this.#resized = new ResizeObserver(() => {
      for (const plot of this.#plots) plot.setSize({ width: this.#width, height: plot.height });
    });
    this.#resized.observe(root);
    this.#scheme.addEventListener('change', this.#again);
  }

  close() {
    this.#resized.disconnect();
    this.#scheme.removeEventListener('change', this.#again);
    for (const plot of this.#plots) plot.destroy();
  }

  /** All of the time is shown again. */
  reset() {
    this.#isZoomed = false;
  }

  /** @param {Shown} shown */
  show(shown) {
    this.#shown = { ...shown, lines: shown.lines.map(withGaps) };
    if (this.#names !== nameOf(shown)) return this.#build();
    for (const [i, plot] of this.#plots.entries()) this.#fill(plot, i);
  }

  /** @param {uPlot} plot @param {number} i */
  #fill(plot, i) {
    plot.setData(/** @type {any} */ (columns(this.#shown.lines[i] ?? [])));
  }

  get #width() {
    return Math.max(this.root.clientWidth, 240);
  }

  #build() {
    for (const plot of this.#plots) plot.destroy();
    this.#names = nameOf(this.#shown);
    this.#plots = this.#shown.names.map((_, i) => this.#plot(i));
  }

  /** @param {number} i @returns {uPlot} */
  #plot(i) {
    const { names, lines, areStates } = this.#shown;
    const isState = areStates[i] === true;
    const axis = {
      stroke: colour('--muted'),
      grid: { stroke: colour('--border'), width: 1 },
      ticks: { stroke: colour('--border') },
    };
    const isLast = i === names.length - 1;
    const height = (names.length === 1 ? 260 : 140) + (isLast ? 50 : 0);
    return new uPlot(
      {
        width: this.#width,
        height,
        axes: [
          {
            ...axis,
            space: 72,
            values: timeLabels,
            ...(isLast ? {} : { size: 8, values: (_, splits) => splits.map(() => '') }),
          },
          {
            ...axis,
            size: 60,
            space: 26,
            ...(isState && { splits: () => [0, 1], values: () => ['false', 'true'] }),
          },
        ],
        scales: {
          x: {
            auto: () => !this.#isZoomed,
            range: (_, from, to) => (this.#isZoomed ? [from, to] : [this.#shown.from, this.#shown.to]),
          },
          ...(isState && { y: { range: /** @type {[number, number]} */ ([-0.2, 1.2]) } }),
        },
        ...(isState && { height: 90 + (isLast ? 50 : 0) }),
        cursor: {
          drag: { x: true, y: false },
          sync: { key: this.#group, scales: ['x', /** @type {any} */ (null)] },
          bind: {
            dblclick: (_plot, _target, back) => (event) => {
              this.#isZoomed = false;
              return back(event);
            },
          },
        },
        series: [
          { value: (_plot, time, _series, at) => (at == null ? 'newest' : date(new Date(time * 1000))) },
          {
            label: names[i] ?? '',
            stroke: colour(colours[i % colours.length] ?? '--line-1'),
            width: 1.5,
            spanGaps: false,
            points: { size: 4 },
            ...(isState && {
              paths: uPlot.paths.stepped?.({ align: 1 }),
            }),
            value: (plot, value, _series, at) => legendValue(at == null ? newest(plot) : value, isState),
          },
        ],
        hooks: {
          drawClear: [(plot) => this.#drawBands(plot, names[i])],
          setSelect: [
            ({ select }) => {
              if (select.width > 0) this.#isZoomed = true;
            },
          ],
        },
      },
      /** @type {any} */ (columns(lines[i] ?? [])),
      this.root,
    );
  }

  /** @param {uPlot} plot @param {string | undefined} metric */
  #drawBands(plot, metric) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = colour('--band');
    for (const { from, to, metric: of } of this.#shown.bands) {
      if (of !== null && of !== metric) continue;
      const left = Math.max(plot.valToPos(from, 'x', true), bbox.left);
      const right = Math.min(plot.valToPos(to, 'x', true), bbox.left + bbox.width);
      if (right > left) ctx.fillRect(left, bbox.top, Math.max(right - left, 2), bbox.height);
    }
    ctx.restore();
  }
}
