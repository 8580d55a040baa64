import { subscribe, unsubscribe } from 'node:diagnostics_channel';

import type { MessageChannel, TelemetryMessage, WorkChannel, WorkMessage } from './channels';

/** Listeners to the messages of one source, until they are stopped. */
export class Listeners {
  readonly #source: object;
  readonly #stops: (() => boolean)[] = [];

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
      if (told.source === this.#source) listener(told);
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

  stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }
}
