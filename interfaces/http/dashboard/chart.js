/** Lines over time: gaps are gaps, alarms are bands, and new points are added at the end. */
import uPlot from '/dashboard/uplot.js';

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
 * @typedef {{ from: number, to: number, name: string }} Band
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

/** Several lines on one axis of time: for each time a value, `null` for a hole, `undefined` where a line has no point. */
export function joined(/** @type {readonly (readonly Point[])[]} */ lines) {
  const times = [...new Set(lines.flatMap((line) => line.map(({ at }) => at)))].sort((a, b) => a - b);
  const columns = lines.map((line) => {
    const values = new Map(line.map(({ at, value }) => [at, value]));
    return times.map((at) => values.get(at));
  });
  return [times, ...columns];
}

/** A colour of the page's scheme, as a canvas takes it. */
function colour(/** @type {string} */ name) {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

export class Chart {
  /** Where it is drawn. */
  root;
  /** @type {uPlot | undefined} */
  #plot;
  #names = '';
  /** @type {readonly Band[]} */
  #bands = [];
  #resized;
  #scheme = matchMedia('(prefers-color-scheme: dark)');
  #again = () => this.#build();
  /** @type {{ names: readonly string[], lines: readonly (readonly Point[])[] } | undefined} */
  #shown;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.#resized = new ResizeObserver(() => this.#plot?.setSize(this.#size()));
    this.#resized.observe(root);
    this.#scheme.addEventListener('change', this.#again);
  }

  close() {
    this.#resized.disconnect();
    this.#scheme.removeEventListener('change', this.#again);
    this.#plot?.destroy();
  }

  /**
   * @param {readonly string[]} names @param {readonly (readonly Point[])[]} lines of the same order
   * @param {readonly Band[]} bands
   */
  show(names, lines, bands) {
    this.#bands = bands;
    this.#shown = { names, lines: lines.map(withGaps) };
    if (this.#plot && this.#names === names.join())
      this.#plot.setData(/** @type {any} */ (joined(this.#shown.lines)));
    else this.#build();
  }

  #size() {
    return { width: Math.max(this.root.clientWidth, 240), height: 300 };
  }

  #build() {
    if (!this.#shown) return;
    const { names, lines } = this.#shown;
    const axis = {
      stroke: colour('--muted'),
      grid: { stroke: colour('--border'), width: 1 },
      ticks: { stroke: colour('--border') },
    };
    this.#plot?.destroy();
    this.#names = names.join();
    this.#plot = new uPlot(
      {
        ...this.#size(),
        axes: [
          { ...axis, space: 72, values: timeLabels },
          { ...axis, size: 60 },
        ],
        cursor: { drag: { x: true, y: false } },
        series: [
          { value: '{D} {MMM} {YYYY} {HH}:{mm}:{ss}' },
          ...names.map((label, i) => ({
            label,
            stroke: colour(colours[i % colours.length]),
            width: 1.5,
            spanGaps: false,
            points: { size: 4 },
          })),
        ],
        hooks: { drawClear: [(/** @type {uPlot} */ plot) => this.#drawBands(plot, colour('--band'))] },
      },
      /** @type {any} */ (joined(lines)),
      this.root,
    );
  }

  /** @param {uPlot} plot @param {string} fill */
  #drawBands(plot, fill) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = fill;
    for (const { from, to } of this.#bands) {
      const left = Math.max(plot.valToPos(from, 'x', true), bbox.left);
      const right = Math.min(plot.valToPos(to, 'x', true), bbox.left + bbox.width);
      if (right > left) ctx.fillRect(left, bbox.top, Math.max(right - left, 2), bbox.height);
    }
    ctx.restore();
  }
}
