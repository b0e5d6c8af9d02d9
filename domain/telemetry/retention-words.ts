import { type KeptKind, keptKinds, type RetentionPolicy } from './retention.ts';

/** What is kept, as operators name it. */
export const keptWords = { points: 'points', '1m': 'minutes', '1h': 'hours', '1d': 'days' } as const;

export type KeptWord = (typeof keptWords)[KeptKind];

/** As an operator writes it: `{"type": "boiler", "points": "90d", "days": "forever"}`. */
export type RetentionRuleInWords = { readonly type?: string; readonly metric?: string } & {
  readonly [Word in KeptWord]?: string;
};

export const policyInWords = (policy: RetentionPolicy): readonly RetentionRuleInWords[] =>
  policy.map(({ type, metric, keep }) => ({
    ...(type !== undefined && { type }),
    ...(metric !== undefined && { metric }),
    ...Object.fromEntries(
      keptKinds.flatMap((kind) => {
        const days = keep[kind];
        return days === undefined ? [] : [[keptWords[kind], days === null ? 'forever' : `${days}d`]];
      }),
    ),
  }));
