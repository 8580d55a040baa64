import { subscribe, unsubscribe } from 'node:diagnostics_channel';

import type { MessageChannel, TelemetryMessage, WorkChannel, WorkMessage } from './channels';

/**
 * Listeners to the messages of one source, until they are stopped. One that throws is told of once, as a warning of the
 * process, which node:diagnostics_channel would end.
 */
export class Listeners {
  readonly #source: object;
  readonly #stops: (() => boolean)[] = [];
  #hasWarned = false;

  constructor(source: object) {
    this.#source = source;
  }

  /** Listens to a channel. */
  on<M extends TelemetryMessage>(
    { name }: MessageChannel<M>,
    listener: (message: M) => void,
  ): this {
    const onMessage = (message: unknown): void => {
      // Only the library publishes to its channels, each with one kind of message.
      const told = message as M;
      if (told.source !== this.#source) return;
      try {
        listener(told);
      } catch (error) {
        this.#warn(name, error);
      }
    };
    subscribe(name, onMessage);
    this.#stops.push(() => unsubscribe(name, onMessage));
    return this;
  }

  /** Listens to work: `begin` is called when some begins, and what it returns when that has ended. */
  onWork<M extends WorkMessage>(channel: WorkChannel<M>, begin: (message: M) => () => void): this {
    const ends = new WeakMap<M, () => void>();
    return this.on(channel.start, (message) => {
      ends.set(message, begin(message));
    }).on(channel.asyncEnd, (message) => {
      ends.get(message)?.();
    });
  }

  #warn(channel: string | symbol, error: unknown): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    // Its message may say anything.
    const kind = error instanceof Error ? error.name : typeof error;
    process.emitWarning(
      `A listener to ${String(channel)} has thrown: ${kind}. Others are not reported.`,
      {
        type: 'FieldEncryptionWarning',
      },
    );
  }

  stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }
}
