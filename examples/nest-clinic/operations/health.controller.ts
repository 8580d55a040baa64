import { Controller, Get } from '@nestjs/common';
import { HealthCheck, HealthCheckService, TypeOrmHealthIndicator } from '@nestjs/terminus';
import { FieldEncryptionHealthIndicator } from 'typeorm-field-encryption/nestjs';

@Controller('health')
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly database: TypeOrmHealthIndicator,
    private readonly encryption: FieldEncryptionHealthIndicator,
  ) {}

  /** Whether to restart this process: nothing that a restart does not mend. */
  @Get('live')
  @HealthCheck()
  live() {
    return this.health.check([]);
  }

  /** Whether to send requests to this process. */
  @Get('ready')
  @HealthCheck()
  ready() {
    return this.health.check([
      () => this.database.pingCheck('database'),
      () => this.encryption.isHealthy('encryption'),
    ]);
  }
}
