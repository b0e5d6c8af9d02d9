/** What the container does with an adapter it lets go of. */
export async function closed(adapter: unknown): Promise<void> {
  const { close } = adapter as { close?: () => Promise<void> };
  if (!close) throw new TypeError('Only what can be closed is bound with a deactivation');
  await close.call(adapter);
}
