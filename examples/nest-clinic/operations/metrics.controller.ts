import { Controller, Get, Header } from '@nestjs/common';
import type { FieldEncryption } from 'typeorm-field-encryption';
import { InjectFieldEncryption } from 'typeorm-field-encryption/nestjs';

@Controller('metrics')
export class MetricsController {
  constructor(@InjectFieldEncryption() private readonly encryption: FieldEncryption) {}

  /** For Prometheus: alert on keys that are usable for less time than an outage takes to mend. */
  @Get()
  @Header('Content-Type', 'text/plain; version=0.0.4')
  async metrics(): Promise<string> {
    const { ok, kms, keys } = await this.encryption.health();
    const lines = keys.map(
      ({ name, purpose, usableForMs }) =>
        `field_encryption_key_usable_seconds{name="${name}",purpose="${purpose}"} ${String(usableForMs / 1000)}`,
    );
    const up = [`field_encryption_up ${String(+ok)}`, `field_encryption_kms_up ${String(+kms.ok)}`];
    return [...up, ...lines, ''].join('\n');
  }
}
