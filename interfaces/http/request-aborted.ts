import type { Response } from 'express';

/** The caller went away; there is nobody left to answer. */
export class RequestAborted extends Error {
  override readonly name = 'RequestAborted';
}

/** Aborted, with `RequestAborted`, when the caller goes away, or else when all is answered. */
export function untilGone(res: Response): AbortSignal {
  const gone = new AbortController();
  const leave = () => gone.abort(new RequestAborted('The caller went away'));
  if (res.destroyed) leave();
  else res.once('close', leave);
  return gone.signal;
}
