import { erasedName } from '../domain/device.ts';
import type { RecordedEvent } from './ports/event-store.ts';

const blank: Readonly<Record<string, unknown>> = { name: erasedName, labels: {}, reason: erasedName };

/** The event with nothing in it that may tell of a person, in a form that can still be read. */
export function withoutPersonalData({
  data,
  metadata,
}: Pick<RecordedEvent, 'data' | 'metadata'>): Pick<RecordedEvent, 'data' | 'metadata'> {
  const { traceparent: _, ...kept } = metadata;
  return {
    data: Object.fromEntries(
      Object.entries(data as object).map(([field, value]) => [field, field in blank ? blank[field] : value]),
    ),
    metadata: { ...kept, actor: erasedName, commandDigest: erasedName },
  };
}
