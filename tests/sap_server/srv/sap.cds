// The part of SAP's services that the hub talks to, with the names, types and lengths of the real ones' $metadata.
// Numbers that SAP draws itself (partner, address, ordinal), derived fields and customers: see sap.js.

aspect versioned {
  @odata.etag @Core.Computed ETag : String(40);
}

@path: 'API_BUSINESS_PARTNER'
service API_BUSINESS_PARTNER {
  entity A_BusinessPartner : versioned {
    key BusinessPartner          : String(10);
        Customer                 : String(10) @Core.Computed;
        BusinessPartnerCategory  : String(1);
        BusinessPartnerFullName  : String(81) @Core.Computed;
        BusinessPartnerName      : String(81) @Core.Computed;
        BusinessPartnerGrouping  : String(4);
        BusinessPartnerType      : String(4);
        CorrespondenceLanguage   : String(2);
        CreationDate             : Date @cds.on.insert: $now;
        CreationTime             : Time @cds.on.insert: $now;
        LastChangeDate           : Date;
        LastChangeTime           : Time;
        FirstName                : String(40);
        LastName                 : String(40);
        MiddleName               : String(40);
        FormOfAddress            : String(4);
        IsFemale                 : Boolean default false;
        IsMale                   : Boolean default false;
        IsSexUnknown             : Boolean default false;
        SearchTerm1              : String(20);
        SearchTerm2              : String(20);
        BirthDate                : Date;
        BusinessPartnerDeathDate : Date;
        BusinessPartnerIsBlocked : Boolean default false;
        IsMarkedForArchiving     : Boolean default false;
        to_BusinessPartnerAddress : Composition of many A_BusinessPartnerAddress
          on to_BusinessPartnerAddress.BusinessPartner = BusinessPartner;
        to_BuPaIdentification    : Composition of many A_BuPaIdentification
          on to_BuPaIdentification.BusinessPartner = BusinessPartner;
        to_BusinessPartnerRole   : Composition of many A_BusinessPartnerRole
          on to_BusinessPartnerRole.BusinessPartner = BusinessPartner;
        to_Customer              : Composition of one A_Customer
          on to_Customer.Customer = BusinessPartner; // same number: as where CVI is set to "same numbers"
  }

  entity A_BusinessPartnerAddress : versioned {
    key BusinessPartner            : String(10);
    key AddressID                  : String(10);
        StreetName                 : String(60);
        HouseNumber                : String(10);
        StreetPrefixName           : String(40);
        StreetSuffixName           : String(40);
        AdditionalStreetSuffixName : String(40);
        CityName                   : String(40);
        District                   : String(40);
        PostalCode                 : String(10);
        Region                     : String(3);
        Country                    : String(3);
        Language                   : String(2);
        FullName                   : String(80) @Core.Computed;
        to_PhoneNumber             : Composition of many A_AddressPhoneNumber
          on to_PhoneNumber.AddressID = AddressID and to_PhoneNumber.PhoneNumberType = '1';
        to_MobilePhoneNumber       : Composition of many A_AddressPhoneNumber
          on to_MobilePhoneNumber.AddressID = AddressID and to_MobilePhoneNumber.PhoneNumberType = '3';
        to_EmailAddress            : Composition of many A_AddressEmailAddress
          on to_EmailAddress.AddressID = AddressID;
        to_AddressUsage            : Composition of many A_BuPaAddressUsage
          on to_AddressUsage.AddressID = AddressID and to_AddressUsage.BusinessPartner = BusinessPartner;
  }

  entity A_BuPaAddressUsage : versioned {
    key BusinessPartner : String(10);
    key ValidityEndDate : Timestamp;
    key AddressUsage    : String(10);
    key AddressID       : String(10);
        StandardUsage   : Boolean;
  }

  entity A_AddressPhoneNumber : versioned {
    key AddressID                  : String(10);
    key Person                     : String(10);
    key OrdinalNumber              : String(3);
        DestinationLocationCountry : String(3);
        IsDefaultPhoneNumber       : Boolean;
        PhoneNumber                : String(30);
        PhoneNumberExtension       : String(10);
        InternationalPhoneNumber   : String(30) @Core.Computed;
        PhoneNumberType            : String(1);
  }

  entity A_AddressEmailAddress : versioned {
    key AddressID             : String(10);
    key Person                : String(10);
    key OrdinalNumber         : String(3);
        IsDefaultEmailAddress : Boolean;
        EmailAddress          : String(241);
        SearchEmailAddress    : String(20) @Core.Computed;
  }

  entity A_BuPaIdentification : versioned {
    key BusinessPartner           : String(10);
    key BPIdentificationType      : String(6);
    key BPIdentificationNumber    : String(60);
        BPIdnNmbrIssuingInstitute : String(40);
        Country                   : String(3);
        Region                    : String(3);
  }

  entity A_BusinessPartnerRole : versioned {
    key BusinessPartner     : String(10);
    key BusinessPartnerRole : String(6);
  }

  entity A_Customer : versioned {
    key Customer                    : String(10);
        CustomerAccountGroup        : String(4);
        CustomerClassification      : String(2);
        BillingIsBlockedForCustomer : String(2);
        OrderIsBlockedForCustomer   : String(2);
        PostingIsBlocked            : Boolean default false;
        DeletionIndicator           : Boolean default false;
        to_CustomerCompany          : Composition of many A_CustomerCompany on to_CustomerCompany.Customer = Customer;
        to_CustomerSalesArea        : Composition of many A_CustomerSalesArea on to_CustomerSalesArea.Customer = Customer;
  }

  entity A_CustomerCompany : versioned {
    key Customer              : String(10);
    key CompanyCode           : String(4);
        ReconciliationAccount : String(10);
        PaymentTerms          : String(4);
        PaymentMethodsList    : String(10);
        DeletionIndicator     : Boolean default false;
  }

  entity A_CustomerSalesArea : versioned {
    key Customer             : String(10);
    key SalesOrganization    : String(4);
    key DistributionChannel  : String(2);
    key Division             : String(2);
        Currency             : String(5);
        CustomerGroup        : String(2);
        CustomerPaymentTerms : String(4);
  }
}

@path: 'API_BILLING_DOCUMENT_SRV'
service API_BILLING_DOCUMENT_SRV {
  entity A_BillingDocument : versioned {
    key BillingDocument             : String(10);
        SDDocumentCategory          : String(4);
        BillingDocumentCategory     : String(1);
        BillingDocumentType         : String(4);
        CreationDate                : Date;
        CreationTime                : Time;
        LastChangeDate              : Date;
        LastChangeDateTime          : Timestamp;
        SalesOrganization           : String(4);
        DistributionChannel         : String(2);
        Division                    : String(2);
        BillingDocumentDate         : Date;
        BillingDocumentIsCancelled  : Boolean;
        CancelledBillingDocument    : String(10);
        TotalNetAmount              : Decimal(16, 3);
        TaxAmount                   : Decimal(16, 3);
        TotalGrossAmount            : Decimal(17, 3);
        TransactionCurrency         : String(5);
        SoldToParty                 : String(10);
        PayerParty                  : String(10);
        CompanyCode                 : String(4);
        FiscalYear                  : String(4);
        AccountingDocument          : String(10);
        CustomerPaymentTerms        : String(4);
        DocumentReferenceID         : String(16);
        AssignmentReference         : String(18);
        AccountingPostingStatus     : String(1);
        OverallBillingStatus        : String(1);
        InvoiceClearingStatus       : String(1);
        to_Item                     : Composition of many A_BillingDocumentItem on to_Item.BillingDocument = BillingDocument;
  }

  entity A_BillingDocumentItem : versioned {
    key BillingDocument         : String(10);
    key BillingDocumentItem     : String(6);
        SalesDocumentItemCategory : String(4);
        BillingDocumentItemText : String(40);
        Material                : String(40);
        BillingQuantity         : Decimal(13, 3);
        BillingQuantityUnit     : String(3);
        ServicesRenderedDate    : Date;
        NetAmount               : Decimal(16, 3);
        GrossAmount             : Decimal(16, 3);
        TaxAmount               : Decimal(16, 3);
        TransactionCurrency     : String(5);
        SalesDocument           : String(10);
        SalesDocumentItem       : String(6);
  }
}

@path: 'API_OPLACCTGDOCITEMCUBE_SRV'
service API_OPLACCTGDOCITEMCUBE_SRV {
  entity A_OperationalAcctgDocItemCube {
    key CompanyCode                  : String(4);
    key FiscalYear                   : String(4);
    key AccountingDocument           : String(10);
    key AccountingDocumentItem       : String(3);
        AccountingDocumentType       : String(2);
        AccountingDocumentCategory   : String(1);
        FinancialAccountType         : String(1);
        DebitCreditCode              : String(1);
        PostingKey                   : String(2);
        PostingDate                  : Date;
        DocumentDate                 : Date;
        NetDueDate                   : Date;
        Customer                     : String(10);
        AmountInTransactionCurrency  : Decimal(24, 3);
        TransactionCurrency          : String(5);
        AmountInCompanyCodeCurrency  : Decimal(24, 3);
        CompanyCodeCurrency          : String(5);
        ClearingAccountingDocument   : String(10);
        ClearingDocFiscalYear        : String(4);
        ClearingDate                 : Date;
        ClearingCreationDate         : Date;
        ClearingItem                 : String(3);
        IsCleared                    : String(1);
        InvoiceReference             : String(10);
        InvoiceReferenceFiscalYear   : String(4);
        InvoiceItemReference         : String(3);
        BillingDocument              : String(10);
        AssignmentReference          : String(18);
        DocumentItemText             : String(50);
        PaymentMethod                : String(1);
        ReverseDocument              : String(10);
        IsReversal                   : Boolean;
        IsReversed                   : Boolean;
        LastChangeDate               : Date;
        AccountingDocumentCreationDate : Date;
  }
}
