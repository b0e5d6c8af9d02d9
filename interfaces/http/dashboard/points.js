/** The points that a chart shows, in order of time for each metric, and never more of them than can be told apart. */

/** Of a metric. */
const most = 2000;
/** The newest, which tables show, are not thinned. */
const exact = 200;

/** @typedef {number | string | boolean | null} Value */
/** @typedef {{ times: number[], values: Value[] }} Column Epoch milliseconds, and what was measured then. */

export class Points {
  /** @type {Map<string, Column>} */
  #columns = new Map();

  get metrics() {
    return [...this.#columns.keys()];
  }

  get(/** @type {string} */ metric) {
    return this.#columns.get(metric) ?? { times: [], values: [] };
  }

  /** @param {string} metric @param {number} at @param {Value} value takes the place of another of that time */
  add(metric, at, value) {
    const column = this.get(metric);
    this.#columns.set(metric, column);
    const { times, values } = column;
    const place = placeOf(times, at);
    if (times[place] === at) values[place] = value;
    else if (place === times.length) {
      times.push(at);
      values.push(value);
    } else {
      times.splice(place, 0, at);
      values.splice(place, 0, value);
    }
    if (times.length > 1.5 * most) thin(column);
  }

  dropBefore(/** @type {number} */ at) {
    for (const { times, values } of this.#columns.values()) {
      const place = placeOf(times, at);
      if (place === 0) continue;
      times.splice(0, place);
      values.splice(0, place);
    }
  }

  /** The newest of these metrics together, the latest first. @param {readonly string[]} metrics @param {number} count */
  newest(metrics, count) {
    return metrics
      .flatMap((metric) => {
        const { times, values } = this.get(metric);
        const from = Math.max(0, times.length - count);
        return times.slice(from).map((at, i) => ({ at, metric, value: values[from + i] }));
      })
      .sort((a, b) => b.at - a.at)
      .slice(0, count);
  }
}

/** Where the first time is that is not before `at`. @param {readonly number[]} times @param {number} at */
function placeOf(times, at) {
  if (times.length === 0 || times[times.length - 1] < at) return times.length;
  let [low, high] = [0, times.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Leaves the lowest and the highest of each part of the time, so that no peak is lost. */
function thin(/** @type {Column} */ { times, values }) {
  const end = times.length - exact;
  const [from, to] = [times[0], times[end]];
  const parts = (most - exact) / 2;
  const width = (to - from) / parts;
  /** @type {Map<number, { low: number, high: number }>} By part, which points. */
  const kept = new Map();
  for (let i = 0; i < end; i += 1) {
    const part = Math.floor((times[i] - from) / width);
    const { low, high } = kept.get(part) ?? { low: i, high: i };
    kept.set(part, {
      low: Number(values[i]) < Number(values[low]) ? i : low,
      high: Number(values[i]) > Number(values[high]) ? i : high,
    });
  }
  const places = [...new Set([...kept.values()].flatMap(({ low, high }) => [low, high]))].sort(
    (a, b) => a - b,
  );
  for (let i = end; i < times.length; i += 1) places.push(i);
  const [newTimes, newValues] = [places.map((i) => times[i]), places.map((i) => values[i])];
  times.splice(0, times.length, ...newTimes);
  values.splice(0, values.length, ...newValues);
}
