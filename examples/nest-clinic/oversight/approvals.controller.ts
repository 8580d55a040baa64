import {
  Body,
  Controller,
  Get,
  HttpCode,
  Param,
  Post,
  UseFilters,
  UseGuards,
} from '@nestjs/common';
import { IsString } from 'class-validator';
import type { Erasure, FieldEncryption } from 'typeorm-field-encryption';
import { ApprovalRequiredFilter, InjectFieldEncryption } from 'typeorm-field-encryption/nestjs';

import { StaffGuard, TenantId } from '../staff/staff.guard.js';

class Signature {
  /** The content of the file that `ssh-keygen -Y sign -n typeorm-field-encryption` writes. */
  @IsString() signature!: string;
}

/** What takes two people: closing a clinic, which erases its keys for good. */
@Controller()
@UseGuards(StaffGuard)
@UseFilters(ApprovalRequiredFilter)
export class ApprovalsController {
  constructor(@InjectFieldEncryption() private readonly encryption: FieldEncryption) {}

  /** Asks for approval at first; erases once somebody else has signed, and is called again. */
  @Post('closure')
  close(@TenantId() tenant: string): Promise<Erasure> {
    // With several processes, leave graceMs out, and call twice: docs/erasure.md.
    const options = { reason: 'The clinic has closed.', graceMs: 0 };
    return this.encryption.keys.shred({ scope: { tenant }, ...options });
  }

  /** The documents to be signed. */
  @Get('approvals')
  list() {
    return this.encryption.approvals.list();
  }

  @Post('approvals/:id')
  @HttpCode(200)
  approve(@Param('id') id: string, @Body() { signature }: Signature) {
    return this.encryption.approvals.approve(id, signature);
  }
}
