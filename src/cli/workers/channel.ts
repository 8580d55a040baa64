import type { Message } from './messages';

/** Either end of the channel between two processes of a group. */
interface End {
  on(event: 'message', listener: (message: unknown) => void): unknown;
  send?:
    | ((message: object, handle: undefined, options: object, sent: () => void) => boolean)
    | undefined;
}

/** Sends a message, and waits until it is on its way. A process that is no more misses nothing. */
export function tell(end: End, message: Message): Promise<void> {
  return new Promise((resolve) => {
    if (end.send === undefined) resolve();
    else
      end.send({ fieldEncryption: message }, undefined, {}, () => {
        resolve();
      });
  });
}

/** Listens to messages. The application's own modules may use the channel, too. */
export function listen(end: End, take: (message: Message) => void): void {
  end.on('message', (received: unknown) => {
    const { fieldEncryption } = (received ?? {}) as { fieldEncryption?: Message };
    if (fieldEncryption !== undefined) take(fieldEncryption);
  });
}
