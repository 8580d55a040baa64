import { install } from './servers/availability';
import { CHROMIUM } from './servers/chromium';
import { KRYOPTIC } from './servers/kryoptic';
import { MOTO } from './servers/moto';
import { OPENBAO } from './servers/openbao';
import { PROMETHEUS } from './servers/prometheus';

/** Prints for each server whether it runs here, in which version, or why not. */
export default function globalSetup(): void {
  for (const server of [OPENBAO, MOTO, KRYOPTIC, PROMETHEUS, CHROMIUM]) {
    process.stdout.write(`${install(server)}\n`);
  }
}
