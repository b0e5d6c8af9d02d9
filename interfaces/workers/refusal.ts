import type { ProjectionControl } from '../../application/ports/generations.ts';
import type { Log } from '../../application/ports/system.ts';

/** So long a projection that is tried again has to run before it counts as continuing. */
const withdrawAfter = 3_000;

/** Keeps in a projection's state, for all processes, why it does not continue; logs each reason once. */
export class ProjectionRefusal {
  readonly projection: string;
  readonly #control: Pick<ProjectionControl, 'setRefused'>;
  readonly #log: Log;
  #logged: string | undefined;
  #withdrawal: NodeJS.Timeout | undefined;

  constructor(projection: string, control: Pick<ProjectionControl, 'setRefused'>, log: Log) {
    this.projection = projection;
    this.#control = control;
    this.#log = log;
  }

  async report(reason: string): Promise<void> {
    if (reason !== this.#logged)
      this.#log.error({ projection: this.projection, reason }, 'projection refused');
    this.#logged = reason;
    await this.#keep(reason);
  }

  /** The projection is tried again: the reason is withdrawn unless the try ends. */
  tried(): void {
    if (this.#logged !== undefined) this.#withdrawal = setTimeout(() => void this.#withdraw(), withdrawAfter);
  }

  /** The try has ended. */
  ended(): void {
    clearTimeout(this.#withdrawal);
  }

  async #withdraw(): Promise<void> {
    this.#logged = undefined;
    this.#log.info({ projection: this.projection }, 'projection continues');
    await this.#keep(null);
  }

  async #keep(reason: string | null): Promise<void> {
    await this.#control.setRefused(this.projection, reason).catch((err) => {
      this.#log.warn({ projection: this.projection, err }, 'projection state not written');
    });
  }
}
